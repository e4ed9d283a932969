"""Checks a run before it is resumed: that its settings may change so, and that its data is still the same."""

from dataclasses import replace
from typing import Any

from tune_sketch.callbacks.trackers import check_installed
from tune_sketch.commands import quoted
from tune_sketch.config.settings import change_settings, resolve_choices
from tune_sketch.data import publish_data
from tune_sketch.storage.facts import read_facts, write_facts
from tune_sketch.storage.lock import lock
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.same_content import find_data, find_weights


def prepare_resume(run: RunDirectory, choices: dict[str, Any]) -> None:
    """Change the settings of a run as asked, and check that it can go on. Raises ValueError when it cannot.

    What is refused changes nothing. Where its drawings or weights lie elsewhere now, the new place is noted.
    """
    read_facts(run)  # says what is no run directory, before a lock file is made in it
    if not run.journal_log.is_file() and run.study_db.is_file():
        raise ValueError(
            f"{run.path} was made by version 0.1: it can be read (status, explain, report, predict), not resumed. "
            f"Begin a new search with --warm-start {quoted(run.path)}"
        )
    with lock(run):
        facts = read_facts(run)
        settings = change_settings(facts.settings, resolve_choices(choices))
        check_installed(settings.track)
        weights = find_weights(run, facts, settings)
        cache = find_data(run, facts, settings)
        data = replace(facts.data, cache=str(cache), published=publish_data(cache))
        changed = replace(facts, settings=settings, data=data, weights=weights)
        if changed != facts:
            write_facts(run, changed)
