"""Searchers of other packages against ours on known learning curves, each in an environment of its own."""
