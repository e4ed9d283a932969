"""Says in words how far a run is: trials by state, time left, and what a resume would do."""

import collections
import time
from collections.abc import Sequence

from tune_sketch.callbacks.budget import training_seconds, wall_seconds
from tune_sketch.callbacks.progress import epochs_left_to_search
from tune_sketch.commands import command_text
from tune_sketch.config.plan import expected_epochs_of_search, flags_to_extend
from tune_sketch.events import Trial
from tune_sketch.formatting import count_text, duration_text
from tune_sketch.retraining.last_step import find_last_step
from tune_sketch.retraining.timetable import is_search_over
from tune_sketch.samplers import SAMPLERS
from tune_sketch.storage.facts import Facts
from tune_sketch.storage.history import History
from tune_sketch.storage.lock import Owner
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.spent import measure_spent


def count_states(trials: Sequence[Trial], owned: bool) -> str:
    """States in words with their numbers. What runs without an owner was interrupted."""
    names = {"running": "running" if owned else "interrupted", "out_of_memory": "out of memory"}
    counts = collections.Counter(names.get(trial.status, trial.status) for trial in trials)
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "none"


def present(facts: Facts, owner: Owner | None) -> float:
    """The present in the run's own time: where it is worked on, as long after its session's start as has passed."""
    seconds = owner.seconds() if owner is not None else None
    return facts.sessions[-1].started_at + seconds if facts.sessions and seconds is not None else time.time()


def time_left_text(history: History, facts: Facts, now: float) -> str:
    """Expected epochs still to search, at the pace of all sessions so far; no more than what budgets leave."""
    settings, trials = facts.settings, history.trials
    if facts.division is not None:
        left = facts.division.total_seconds - measure_spent(facts.sessions, history, now).total
        return f"at most {duration_text(max(0.0, left))}, retrainings, test and report included"
    started = facts.sessions[-1].started_at if facts.sessions else now
    spent = wall_seconds(facts.sessions, trials) + max(0.0, now - started)
    done = sum(len(trial.epochs) for trial in trials)
    if not done:
        return "not known before the first epoch"
    seconds = epochs_left_to_search(trials, settings.num_samples, expected_epochs_of_search(facts)) * spent / done
    if settings.time_budget_seconds is not None:
        seconds = min(seconds, settings.time_budget_seconds - spent)
    if settings.gpu_hours is not None:
        trained = training_seconds(trials)
        seconds = min(seconds, (3600 * settings.gpu_hours / gpus_or_workers(facts) - trained) * spent / trained)
    return f"about {duration_text(max(0.0, seconds))} for the search, then the retrainings"


def gpus_or_workers(facts: Facts) -> float:
    """The hours of --gpu-hours in one of a trial: its share of a GPU, as far as that is recorded, else one."""
    sharing = facts.sessions[-1].gpu_sharing if facts.sessions else None
    return facts.settings.gpus_per_trial or (1 / sharing.trials_per_gpu if sharing is not None else 1.0)


def is_budget_spent(history: History, facts: Facts) -> bool:
    """Whether a search goes on with nothing when it is resumed, however many trials it may have."""
    settings, trials = facts.settings, history.trials
    searched = measure_spent(facts.sessions, history).search
    return (
        (settings.time_budget_seconds is not None and searched >= settings.time_budget_seconds)
        or (settings.total_time_seconds is not None and is_search_over(history, settings.total_time_seconds))
        or (
            settings.gpu_hours is not None
            and training_seconds(trials) * gpus_or_workers(facts) >= 3600 * settings.gpu_hours
        )
    )


def describe_resume(run: RunDirectory, history: History, facts: Facts) -> str:
    """Words that complete "--resume would ..."."""
    settings = facts.settings
    if not run.journal_log.is_file() and run.study_db.is_file():
        return "be refused: version 0.1 made this run, which can be read only"
    trials, retrainings, sampler = history.trials, history.retrainings.values(), SAMPLERS[settings.strategy]
    is_spent = is_budget_spent(history, facts)
    unfinished = [trial for trial in trials if trial.is_unfinished and not is_spent]
    steps = []
    if unfinished:
        steps.append(
            f"continue {count_text(len(unfinished), 'trial')} ("
            + ", ".join(f"{trial.number} after epoch {len(trial.epochs)}" for trial in unfinished[:8])
            + (", ..." if len(unfinished) > 8 else "")
            + ")"
        )
    if sampler.most_trials and not retrainings:
        steps.append("go on with the steps that are left")
    elif not sampler.most_trials and settings.num_samples > len(trials) and not is_spent:
        number = "" if settings.has_budget else f"{settings.num_samples - len(trials)} "
        steps.append(f"start {number}new trials" + ", as its budget allows" * settings.has_budget)
    left = [trial for trial in retrainings if trial.is_unfinished]
    if left:
        steps.append(f"continue {count_text(len(left), 'retraining')}")
    last = find_last_step(history)
    is_last_left = settings.last_step and (last is None or last.is_unfinished)
    once_more = "let the winner go on with the validation drawings" if is_last_left else ""
    if steps or not retrainings:
        steps.append("retrain the finalists and read the test split")
    elif once_more:
        steps += [once_more, "read the test split"]
    elif any(trial.test is None for trial in retrainings if trial.status == "completed"):
        steps.append("read the test split")
    if not steps:
        more = command_text("search", "--resume", run.path, more=flags_to_extend(settings, len(trials)))
        return f"find nothing to do; extend it: {more}"
    return ", then ".join(steps)
