"""Machines that Ray has not, for tests of what is placed on them."""

import pytest

import tune_sketch.backend.allocation
import tune_sketch.backend.gpu_sharing


@pytest.fixture
def machines(monkeypatch):
    """Give Ray machines by their cores and GPUs."""

    def have(*pairs):
        rows = [{"CPU": float(cpus), "GPU": float(gpus), "accelerator_type:T4": 1.0} for cpus, gpus in pairs]
        for module in (tune_sketch.backend.allocation, tune_sketch.backend.gpu_sharing):
            monkeypatch.setattr(module, "list_machines", lambda: rows)

    return have
