"""Tests of the program: fast ones without Ray, and real ones that start processes (marked `real`)."""
