"""How --total-time was divided: what was planned, and what it took."""

from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.text import seconds_text
from tune_sketch.retraining.timetable import PLAN_NOTE
from tune_sketch.storage.spent import measure_spent


def tabulate_total_time(run: RunData) -> Rows:
    """One row per part, and one of them together; nothing without --total-time."""
    division = run.facts.division
    if division is None:
        return []
    spent = measure_spent(run.facts.sessions, run.history)
    note = run.history.notes.get(PLAN_NOTE, {})
    return [
        {
            "part": "preparation",
            "planned_seconds": division.preparation_seconds,
            "seconds": spent.preparation,
            "remark": "as it was when the time was divided",
        },
        {
            "part": "search",
            "planned_seconds": division.search_seconds,
            "seconds": spent.search,
            "remark": "at least; the start of processes is part of it",
        },
        {
            "part": "retraining and last step",
            "planned_seconds": division.retraining_seconds + division.last_step_seconds,
            "seconds": spent.retraining,
            "remark": f"at most. Planned after the search: {note['text']}" if note else "at most",
        },
        {
            "part": "test and report",
            "planned_seconds": division.ending_seconds,
            "seconds": spent.ending,
            "remark": "of sessions that have ended; this page is written last",
        },
        {
            "part": "together",
            "planned_seconds": division.total_seconds,
            "seconds": spent.total,
            "remark": "all sessions",
        },
    ]


def show_total_time(rows: Rows) -> Rows:
    """The text of the cells."""
    return [
        {
            "part": row["part"],
            "planned": seconds_text(row["planned_seconds"]),
            "took": seconds_text(row["seconds"]),
            "": row["remark"],
        }
        for row in rows
    ]


TOTAL_TIME = Table(
    "total_time",
    "cost",
    "The total time and its parts",
    "Wall-clock time of all sessions. Sources: search.json, epochs.csv, retraining_epochs.csv and the journal.",
    tabulate_total_time,
    show_total_time,
)
