"""Figures of the report: tables of numbers, and drawings made of them."""
