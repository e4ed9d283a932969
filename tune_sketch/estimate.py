"""Times one epoch of the paper's configuration, and says what a planned search costs."""

import tempfile
from pathlib import Path

from tune_sketch.backend.jobs import job_of
from tune_sketch.backend.ray_backend import RayBackend
from tune_sketch.config.plan import Inputs, describe_data, expected_hours_lines
from tune_sketch.config.settings import Settings
from tune_sketch.data.splits import write_splits
from tune_sketch.events import Trial
from tune_sketch.search_spaces import configuration_of, paper_configuration
from tune_sketch.storage.facts import Facts, GpuSharing
from tune_sketch.storage.run_directory import RunDirectory


def estimate_lines(settings: Settings, inputs: Inputs, backend: RayBackend) -> list[str]:
    """Time one epoch of the paper's configuration and say what the plan costs."""
    facts = Facts("timing", None, settings, describe_data(settings, inputs), inputs.weights)
    config = configuration_of(settings.model, paper_configuration(settings.model, facts.limits), facts.limits)
    backend.start()
    workers = backend.allocate(settings, settings.num_samples, GpuSharing(1))
    with tempfile.TemporaryDirectory(prefix="tune_sketch-") as folder:
        run = RunDirectory(Path(folder))
        write_splits(run.splits_csv, inputs.data, inputs.splits)
        seconds = backend.time_epoch(job_of(Trial("timing", 0, config, settings.seed), run, facts, workers), workers)
    return expected_hours_lines(settings, seconds, workers.num_workers)
