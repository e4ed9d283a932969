"""The settings of a search, its data, and the commands, machines and versions of its sessions."""

from collections.abc import Sequence
from dataclasses import asdict

from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table

NUM_SHOWN = 20  # of a long list


def tabulate_settings(run: RunData) -> Rows:
    """Every setting of the search, its data, and each session's command and machine."""
    values: dict[str, object] = asdict(run.settings)
    for name in ("num_images", "num_classes", "num_train", "num_validation", "num_test", "fingerprint"):
        values[f"data: {name.replace('_', ' ')}"] = getattr(run.facts.data, name)
    for model, own in run.facts.of_each().items():
        of_network = f" of {model}" if run.facts.networks else ""
        values[f"initial weights{of_network}"] = own.weights.description
        if run.facts.networks:
            values[f"most epochs, first rung{of_network}"] = f"{own.settings.max_epochs}, {own.settings.grace_epochs}"
    for number, session in enumerate(run.facts.sessions, start=1):
        values |= {
            f"session {number}: command": " ".join(session.command),
            f"session {number}: time": session.time,
            f"session {number}: machine": list_pairs(asdict(session.host)),
            f"session {number}: versions": list_pairs(session.versions),
            f"session {number}: git commit": session.git_commit,
        }
    return [{"setting": name, "value": value_text(value)} for name, value in values.items()]


def list_pairs(values: dict[str, object] | dict[str, str | None]) -> str:
    """Names with their values, as "torch 2.11, numpy 2.0"."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def value_text(value: object) -> str:
    """A setting for a reader; a long list is cut."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        rest = len(value) - NUM_SHOWN
        return ", ".join(map(str, value[:NUM_SHOWN])) + (f" and {rest} more" if rest > 0 else "")
    return "" if value is None else str(value)


SETTINGS = Table("settings", "settings", "Settings", "Source: search.json.", tabulate_settings, lambda rows: rows)
