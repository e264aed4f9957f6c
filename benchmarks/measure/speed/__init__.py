"""Speed of this project compared with hand-written code: `python -m benchmarks.measure.speed`."""
