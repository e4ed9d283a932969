"""Makes the job of a training from the facts of its search."""

from tune_sketch.backend.base import Workers
from tune_sketch.events import Job, Trial
from tune_sketch.search_spaces.common import PAPER_RECIPE
from tune_sketch.storage.facts import Facts
from tune_sketch.storage.run_directory import RunDirectory


def job_of(trial: Trial, run: RunDirectory, facts: Facts, workers: Workers) -> Job:
    """Everything that one training needs to know, with paths that hold on every machine."""
    facts = facts.of(trial.network)
    settings, path = facts.settings, RunDirectory(run.path.absolute())
    return Job(
        key=trial.key,
        model=settings.model,
        config=PAPER_RECIPE | trial.config,  # a trial of an earlier version has no such values
        seed=trial.seed,
        data=facts.data.published,
        splits=str(path.splits_csv),
        checkpoints=str(path.checkpoints(trial.key)),
        checkpoint_epochs=settings.checkpoint_epochs,
        stop_file=str(path.stop_file),
        weights=facts.weights.path,
        pretrained=facts.weights.normalised,
        invert=settings.invert,
        frozen_views=settings.frozen_views,
        # Trials that augment alike share views; a retraining on a fresh seed has its own.
        views_seed=trial.seed if trial.is_retraining else settings.seed,
        num_threads=workers.num_threads,
        num_processes=settings.num_processes,
        gpus=workers.gpus,
        followed=str(path.checkpoints(trial.follows)) if trial.follows is not None else None,
        network=str(path.kept_weights(trial.follows)) if trial.follows is not None else None,
        trains_on_validation=trial.is_last_step,
        num_recorded=len(trial.epochs),
        splits_sha256=facts.data.splits_sha256,
    )
