"""Compares searches by this program with what people would use instead, each in an environment of its own."""
