"""Times one epoch of the paper's configuration of each network, and says what a planned search costs."""

import tempfile
from pathlib import Path

from tune_sketch.backend.jobs import job_of
from tune_sketch.backend.ray_backend import RayBackend
from tune_sketch.config.plan import Inputs, expected_hours_lines, facts_of
from tune_sketch.config.settings import Settings
from tune_sketch.data.splits import write_splits
from tune_sketch.events import Trial
from tune_sketch.new_run import model_name
from tune_sketch.search_spaces import configuration_of, paper_configuration
from tune_sketch.storage.facts import GpuSharing
from tune_sketch.storage.run_directory import RunDirectory


def estimate_lines(settings: Settings, inputs: Inputs, backend: RayBackend) -> list[str]:
    """Time one epoch of the paper's configuration of each network and say what the plan costs."""
    facts = facts_of(settings, inputs)
    backend.start()
    workers = backend.allocate(settings, settings.num_samples, GpuSharing(1))
    with tempfile.TemporaryDirectory(prefix="tune_sketch-") as folder:
        run = RunDirectory(Path(folder))
        write_splits(run.splits_csv, inputs.data, inputs.splits)
        seconds = {}
        for model, own in facts.of_each().items():
            config = configuration_of(model, paper_configuration(model, own.limits), own.limits)
            job = job_of(Trial(f"timing-{model_name(model)}", 0, config, settings.seed), run, own, workers)
            seconds[model] = backend.time_epoch(job, workers)
    return expected_hours_lines(facts, seconds, workers.num_workers, workers.gpus)
