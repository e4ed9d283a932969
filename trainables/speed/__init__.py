"""Optimisations, each with its measured gain: to remove one changes no result beyond rounding."""
