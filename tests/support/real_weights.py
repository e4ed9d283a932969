"""Marks tests that need real ImageNet weights, which an ordinary install of the tests' packages brings."""

import pytest

from benchmarks.real_weights import PACKAGE, packaged_file

needs_real_weights = pytest.mark.skipif(
    packaged_file() is None, reason=f"the package {PACKAGE}, which brings ImageNet weights, is not installed"
)
