"""Marks tests that need real ImageNet weights, which the tests' packages bring, or real sketches."""

from pathlib import Path

import pytest

from benchmarks.real_weights import LITE_FILE, LITE_PACKAGE, PACKAGE, packaged_file

needs_real_weights = pytest.mark.skipif(
    packaged_file() is None, reason=f"the package {PACKAGE}, which brings ImageNet weights, is not installed"
)
needs_efficientnet = pytest.mark.skipif(
    packaged_file(LITE_FILE, LITE_PACKAGE) is None,
    reason=f"the package {LITE_PACKAGE}, which brings ImageNet weights, is not installed",
)

SKETCHY = Path(__file__).parents[3] / "shared" / "data" / "sketchy-125x25"
needs_sketchy = pytest.mark.skipif(not SKETCHY.is_dir(), reason="../shared/data/sketchy-125x25 is not there")
