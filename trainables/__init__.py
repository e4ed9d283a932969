"""Trains one configuration: networks/ has the networks by name, training.py the recipe, job.py and trial.py a trial.

Imports nothing, so that the driver of a search need not wait for torch.
"""
