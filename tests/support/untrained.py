"""Jobs for tests that train nothing, or little."""

from tune_sketch.events import Job, Trial


def make_job(trial: Trial) -> Job:
    """A job of which only key, configuration and seed mean something."""
    return Job(
        key=trial.key,
        model="baseline",
        config=trial.config,
        seed=trial.seed,
        data="",
        splits="",
        checkpoints="",
        checkpoint_epochs=1,
        stop_file="",
        weights=None,
        pretrained=False,
        invert=True,
        frozen_views=0,
        views_seed=0,
        num_threads=1,
        num_processes=1,
        gpus=0.0,
        num_recorded=len(trial.epochs),
    )
