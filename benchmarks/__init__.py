"""Measurements, side by side, each with its result file in results/."""
