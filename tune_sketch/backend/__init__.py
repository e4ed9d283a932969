"""Runs trainings on Ray; the only place, with trainables/trial.py, that imports it."""
