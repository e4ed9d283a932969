"""Optimisations that leave results as they are: each can be removed."""
