"""Checks a run before it is resumed: that its settings may change so, and that its data is still the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tune_sketch.config.settings import change_settings, resolve_choices
from tune_sketch.data import open_data, prepare_data, publish_data
from tune_sketch.storage.facts import read_facts, write_facts
from tune_sketch.storage.lock import lock
from tune_sketch.storage.run_directory import RunDirectory


def prepare_resume(run: RunDirectory, choices: dict[str, Any]) -> None:
    """Change the settings of a run as asked, and check that it can go on. Raises ValueError when it cannot."""
    read_facts(run)  # says what is no run directory, before a lock file is made in it
    with lock(run):
        change_run(run, resolve_choices(choices))
        check_data(run)


def change_run(run: RunDirectory, changes: dict[str, Any]) -> None:
    """Write the changed settings into search.json. Raises ValueError, naming each, for what cannot change."""
    facts = read_facts(run)
    if not run.journal_log.is_file() and run.study_db.is_file():
        raise ValueError(
            f"{run.path} was made by version 0.1: it can be read (status, explain, report, predict), not resumed. "
            f"Begin a new search with --warm-start {run.path}"
        )
    settings = change_settings(facts.settings, changes)
    if settings != facts.settings:
        write_facts(run, replace(facts, settings=settings))


def check_data(run: RunDirectory) -> None:
    """Open the decoded data, decoding it again where the cache is gone, and note where trainings find it.

    Raises ValueError when the drawings are not those that the search began with.
    """
    facts = read_facts(run)
    wanted, cache = facts.data.fingerprint, Path(facts.data.cache)
    try:
        found = open_data(cache).fingerprint
    except ValueError:
        cache = prepare_data(facts.settings.data_request())
        found = open_data(cache).fingerprint
    if found != wanted:
        raise ValueError(
            f"{run.path}: the drawings have changed since the search began "
            f"(fingerprint {found[:12]}, was {wanted[:12]}). Start a new search."
        )
    data = replace(facts.data, cache=str(cache), published=publish_data(cache))
    if data != facts.data:
        write_facts(run, replace(facts, data=data))
