"""Checks of everything that needs a GPU, against the CPU: `python -m benchmarks.measure.gpu`."""
