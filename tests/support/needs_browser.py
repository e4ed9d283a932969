"""Marks tests that need a real browser."""

import importlib.util

import pytest

from tests.support.browser import CHROMEDRIVER, CHROMIUM

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER and importlib.util.find_spec("selenium")),
    reason="chromium, chromedriver or the package selenium are not installed",
)
