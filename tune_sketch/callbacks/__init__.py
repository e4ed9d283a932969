"""Listeners that hear of every epoch and ending once it is recorded."""
