"""Keeps in the record what fixes a search, and refuses a search.json that says something else."""

import json
from dataclasses import asdict
from typing import Any

from tune_sketch.config.settings import FLAGS
from tune_sketch.storage.facts import Facts
from tune_sketch.storage.history import History
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.run_directory import RunDirectory

NOTE = "choices"


def fixed_choices(facts: Facts) -> dict[str, Any]:
    """The choices that may never change in a search, as JSON values."""
    settings = facts.settings
    fixed = {name: getattr(settings, name) for name, flag in FLAGS.items() if flag.on_resume == "fixed"}
    choices = {
        "model": settings.model,
        **fixed,
        "drawings": facts.data.fingerprint,
        "splits": facts.data.splits_sha256,
        "weights": facts.weights.sha256,
        "pretrained": facts.weights.pretrained,
        "class_ratio": facts.data.class_ratio,
        "earlier_trials": [asdict(earlier) for earlier in facts.warm_start],
        "max_epochs": settings.max_epochs,  # may grow
    }
    if facts.networks:
        choices["networks"] = {
            own.model: [own.grace_epochs, own.weights.sha256, own.weights.pretrained] for own in facts.networks
        }
    known: dict[str, Any] = json.loads(json.dumps(choices))
    return known


def note_choices(journal: Journal, facts: Facts) -> None:
    """Keep them in the record."""
    choices = fixed_choices(facts)
    if journal.notes.get(NOTE) != choices:
        journal.note(NOTE, choices)


def check_choices(run: RunDirectory, facts: Facts, history: History) -> None:
    """Raises ValueError when search.json says something else than the record; one of an earlier version says nothing.

    What neither knew when it was written, as the hash of weights, is no difference.
    """
    before, now = history.notes.get(NOTE, {}), fixed_choices(facts)
    for name, value in now.items():
        known = before.get(name)
        if known is None and name not in FLAGS:
            continue
        if name not in before or value == known or (name == "max_epochs" and value >= known):
            continue
        raise ValueError(
            f"{run.search_json} has been changed: {name} is {value!r:.100}, and was {known!r:.100} when the search "
            "was recorded. Put the old value back, or start a new search."
        )
