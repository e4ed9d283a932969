"""Settles in one run what a GPU can say: what is right, how fast, and how accurate. `python -m benchmarks.gpu`."""
