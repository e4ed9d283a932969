"""Learning curves of many configurations, recorded once, so that searchers can be compared without training."""
