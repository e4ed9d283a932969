"""Finds the best way to train a classifier of free-hand sketches, with evidence that can be published."""

__version__ = "0.1.0"
