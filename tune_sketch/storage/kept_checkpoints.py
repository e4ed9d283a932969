"""Gives back the disk space of trainings that have ended, but for what may be wanted yet."""

from collections.abc import Iterable

from tune_sketch.events import Ending, Trial
from tune_sketch.schedulers.rungs import best_own_network
from tune_sketch.storage.run_directory import RunDirectory

RETRIED: tuple[Ending, ...] = ("failed", "out_of_memory")  # by --retry-failed: the machine may have been to blame
MOST_FAILED = 4  # trainings that ended so and can go on from their checkpoints, the last to end


def sweep_checkpoints(run: RunDirectory, trials: Iterable[Trial], *, keeps_best: bool = False) -> None:
    """Remove the checkpoints of those of the trainings that have ended.

    The last few that failed keep theirs, to go on where they are tried again. keeps_best: so does the best, for there
    may be no time to train another network.
    """
    folder = run.all_checkpoints
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    ended = [trial for trial in trials if not trial.is_unfinished and trial.key in there]
    failed = sorted((t for t in ended if t.status in RETRIED), key=lambda t: t.ended_at or 0.0)
    kept = [trial.key for trial in failed[-MOST_FAILED:]]
    if keeps_best:
        best = best_own_network(ended)
        kept += [best.key] if best is not None else []
    for trial in ended:
        if trial.key not in kept:
            run.remove_checkpoints(trial.key)
