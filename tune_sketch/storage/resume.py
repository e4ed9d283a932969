"""Checks a run before it is resumed: that its settings may change so, and that all is there that its trials need."""

import sys
from dataclasses import replace
from typing import Any

from tune_sketch.callbacks.trackers import check_installed
from tune_sketch.commands import quoted
from tune_sketch.config.settings import Settings, change_settings, resolve_choices
from tune_sketch.data import open_data, publish_data
from tune_sketch.data.names import written_lines
from tune_sketch.data.sketch_data import SketchData
from tune_sketch.data.splits import hash_splits, read_splits, split_data, write_splits
from tune_sketch.events import Trial
from tune_sketch.samplers import SAMPLERS
from tune_sketch.storage.facts import Facts, read_facts, write_facts
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.kept_checkpoints import RETRIED
from tune_sketch.storage.lock import lock
from tune_sketch.storage.reading import open_storage, read_history
from tune_sketch.storage.recorded_choices import check_choices
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.same_content import find_data, find_weights


def prepare_resume(run: RunDirectory, choices: dict[str, Any], storage: str | None = None) -> None:
    """Change the settings of a run as asked, and check that it can go on. Raises ValueError when it cannot.

    What is refused changes nothing. Where its drawings or weights lie elsewhere now, the new place is noted. storage:
    the database's URL again, where it needs a password.
    """
    read_facts(run)  # says what is no run directory, before a lock file is made in it
    if not run.journal_log.is_file() and run.study_db.is_file():
        raise ValueError(
            f"{run.path} was made by version 0.1: it can be read (status, explain, report, predict), not resumed. "
            f"Begin a new search with --warm-start {quoted(run.path)}"
        )
    with lock(run):
        facts = read_facts(run)
        check_choices(run, facts, read_history(run, storage))
        each = facts.of_each()
        if facts.networks and "passes" in choices:
            enough = len(each) * SAMPLERS["one-factor"].most_trials * choices["passes"]
            choices = {"num_samples": max(facts.settings.num_samples, enough)} | choices
        changed_settings = {m: change_settings(own.settings, resolve_choices(choices)) for m, own in each.items()}
        settings = changed_settings[facts.settings.model]
        check_installed(settings.track)
        found = {model: find_weights(run, own, changed_settings[model]) for model, own in each.items()}
        cache = find_data(run, facts, settings)
        digest = find_splits(run, facts, settings, open_data(cache))
        data = replace(facts.data, cache=str(cache), published=publish_data(cache), splits_sha256=digest)
        networks = tuple(
            replace(own, max_epochs=changed_settings[own.model].max_epochs, weights=found[own.model])
            for own in facts.networks
        )
        weights = found[facts.settings.model]
        changed = replace(facts, settings=settings, data=data, weights=weights, networks=networks)
        if changed != facts:
            write_facts(run, changed)


def find_splits(run: RunDirectory, facts: Facts, settings: Settings, data: SketchData) -> str:
    """The hash of the division in splits.csv, which is made again where it is lost. Raises ValueError.

    Lost is what cannot be read. What can be read and is another division is never replaced: somebody has changed it.
    """
    known = facts.data.splits_sha256
    try:
        splits = read_splits(run.splits_csv, data)
    except (OSError, ValueError) as error:
        splits = split_data(data, protocol=settings.protocol, split_by=settings.split_by, seed=settings.seed)
        if hash_splits(data, splits) != known:
            raise ValueError(
                f"{run.path}: which drawings are for training cannot be read ({error}), and cannot be found again: "
                f"put {run.splits_csv.name} back from a copy"
            ) from error
        write_splits(run.splits_csv, data, splits)
        text = f"{run.splits_csv} could not be read ({error}): it has been made again, as it was"
        print(written_lines(text), file=sys.stderr)
    found = hash_splits(data, splits)
    sizes = (len(splits.train), len(splits.validation), len(splits.test))
    of_start = (facts.data.num_train, facts.data.num_validation, facts.data.num_test)
    if known not in (None, found) or sizes != of_start:
        raise ValueError(
            f"{run.splits_csv} has been changed since the search began: it divides the drawings into "
            f"{' / '.join(map(str, sizes))}, was {' / '.join(map(str, of_start))}, and not as before. Put it back from "
            "a copy, or remove it to have it made again"
        )
    return found


def retry_failed(run: RunDirectory, storage: str | None = None) -> list[Trial]:
    """Let trainings that failed or ran out of memory go on after their last epoch. Returns them.

    The last of them have their checkpoints (see `sweep_checkpoints`); earlier ones do again what is recorded.
    """
    with lock(run):
        facts = read_facts(run)
        journal = Journal(open_storage(run, facts, storage), facts.study_name)
        try:
            failed = [t for t in [*journal.trials, *journal.later_trainings.values()] if t.status in RETRIED]
            return [journal.try_again(trial.key) for trial in failed]
        finally:
            journal.close()
