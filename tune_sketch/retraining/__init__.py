"""Retrains the best configurations on fresh seeds and reads the test split."""
