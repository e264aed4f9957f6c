"""How fast this project is beside what people write by hand: `python -m benchmarks.measure.speed`."""
