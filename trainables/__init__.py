"""What a trial does: networks.py has the networks by name, trial.py and training.py how one is trained.

Imports nothing, so that the driver of a search need not wait for torch.
"""
