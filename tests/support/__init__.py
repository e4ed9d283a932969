"""Makers, doubles and hosts that tests share."""
