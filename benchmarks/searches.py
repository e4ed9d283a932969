"""Sets finished searches side by side: what each found, how it did on validation and test, and what it took.

    python -m benchmarks.searches NAME RUN [RUN ...]     writes results/NAME-cpu.csv and .md from the runs' own records

For searches of one network on the same drawings with different seeds: means over searches, with Student's t interval.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import cpu_name, result_path, write_result
from tune_sketch.formatting import duration_text
from tune_sketch.retraining.finalists import Finalist, find_finalists
from tune_sketch.statistics import t_interval
from tune_sketch.storage.facts import Facts, read_facts
from tune_sketch.storage.files import read_csv, write_csv
from tune_sketch.storage.history import History
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.spent import measure_spent

COLUMNS = (
    *("run", "seed", "num_trials", "search_seconds", "retraining_seconds", "total_seconds", "num_test"),
    *("what", "trial", "num_seeds", "num_epochs", "val_top1", "test_top1", "test_top1_deviation", "is_winner"),
    *("git_commit", "command"),
)
WINNER, PAPER, RECIPE, FOUND = "the winner", "the paper's", "the recipe", "the best that the search found"
LAST_STEP, ENSEMBLE = "in best/ (the last step)", "ensemble of the winner's seeds"


def measure(run: RunDirectory) -> list[dict[str, Any]]:
    """The rows of one finished search. Raises ValueError while its test split was not read."""
    facts, history = read_facts(run), read_history(run)
    finalists = {finalist.number: finalist for finalist in find_finalists(history) if finalist.retrainings}
    winner = next((finalist for finalist in finalists.values() if finalist.is_chosen), None)
    if winner is None:
        raise ValueError(f"{run.path} has no winner yet: finish it first")
    best_found = max(
        (f for f in finalists.values() if not f.is_baseline and not f.is_recipe),
        key=lambda finalist: finalist.mean("val_top1") or 0.0,
        default=None,
    )
    common = describe_search(facts, history, run)
    named = {WINNER: winner, PAPER: finalists.get(0), FOUND: best_found}
    named[RECIPE] = next((finalist for finalist in finalists.values() if finalist.is_recipe), None)
    rows = [common | row_of(what, finalist) for what, finalist in named.items() if finalist is not None]
    for row in read_csv(run.winner_csv):
        what = {"last step": LAST_STEP, "ensemble": ENSEMBLE}.get(row["network"])
        if what is not None:
            values = {"what": what, "trial": winner.number, "num_seeds": 1, "test_top1": float(row["test_top1"])}
            rows.append(common | values | ({"val_top1": float(row["val_top1"])} if row["val_top1"] else {}))
    return rows


def describe_search(facts: Facts, history: History, run: RunDirectory) -> dict[str, Any]:
    """The settings of a search and the time that it took."""
    spent = measure_spent(facts.sessions, history)
    return {
        "run": run.name,
        "seed": facts.settings.seed,
        "num_trials": len(history.trials),
        "search_seconds": round(spent.search, 1),
        "retraining_seconds": round(spent.retraining, 1),
        "total_seconds": round(spent.total, 1),
        "num_test": facts.data.num_test,
        "git_commit": (facts.sessions[0].git_commit or "")[:10],
        "command": " ".join(Path(word).name if word.startswith("/") else word for word in facts.sessions[0].command),
    }


def row_of(what: str, finalist: Finalist) -> dict[str, Any]:
    """A finalist's means over its fresh seeds."""
    return {
        "what": what,
        "trial": finalist.number,
        "num_seeds": len(finalist.retrainings),
        "num_epochs": len(finalist.retrainings[0].epochs),
        "val_top1": finalist.mean("val_top1"),
        "test_top1": finalist.mean("test_top1"),
        "test_top1_deviation": finalist.standard_deviation("test_top1"),
        "is_winner": finalist.is_chosen,
    }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each search, and the means over them."""
    names = list(dict.fromkeys(row["run"] for row in rows))
    lines = [
        f"Test split: {rows[0]['num_test']} drawings. Percent; of finalists the mean over fresh seeds and their "
        f"standard deviation, number in brackets. {len(names)} search{'es' * (len(names) > 1)}, on {cpu_name()}.",
        "",
        "| search | seed | trials | search, retraining, all | " + " | ".join(test_names()) + " | winner |",
        "|---" * (5 + len(test_names())) + "|",
    ]
    for name in names:
        own = {row["what"]: row for row in rows if row["run"] == name}
        any_row = next(iter(own.values()))
        times = ", ".join(duration_text(any_row[f"{part}_seconds"]) for part in ("search", "retraining", "total"))
        cells = [cell(own.get(what)) for what in test_names()]
        kind = next((w for w in (PAPER, RECIPE) if w in own and own[w]["is_winner"]), "found by the search")
        lines.append(
            f"| {name} | {any_row['seed']} | {any_row['num_trials']} | {times} | {' | '.join(cells)} "
            f"| trial {own[WINNER]['trial']}, {kind} |"
        )
    by_run = {(row["run"], row["what"]): 100 * row["test_top1"] for row in rows}
    ends, gains = [], []
    for what in test_names():
        runs = [name for name in names if (name, what) in by_run]
        ends.append(mean_text([by_run[name, what] for name in runs]))
        is_other = what != WINNER
        gains.append(mean_text([by_run[name, what] - by_run[name, WINNER] for name in runs], "+") if is_other else "")
    lines.append(f"| mean of test top-1 [95 % over searches] | | | | {' | '.join(ends)} | |")
    lines.append(f"| minus the winner's, points [95 % over searches] | | | | {' | '.join(gains)} | |")
    return lines


def mean_text(values: Sequence[float], sign: str = "") -> str:
    """A mean with Student's t interval over searches, where there are two or more; nothing of no values."""
    between = t_interval(list(values))
    interval = f" [{between[0]:{sign}.1f}, {between[1]:{sign}.1f}]" if between else ""
    return f"{statistics.mean(values):{sign}.1f}{interval}" if values else ""


def test_names() -> list[str]:
    return [WINNER, PAPER, RECIPE, FOUND, LAST_STEP, ENSEMBLE]


def cell(row: dict[str, Any] | None) -> str:
    """Validation and test top-1 of one of a search's networks."""
    if row is None:
        return ""
    validation = f"validation {100 * row['val_top1']:.1f}, " if row.get("val_top1") is not None else ""
    deviation = row.get("test_top1_deviation")
    between = "" if deviation is None else f" ± {100 * deviation:.1f}"
    return f"{validation}test {100 * row['test_top1']:.1f}{between} ({row['num_seeds']})"


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the result files")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    arguments = parser.parse_args(argv)
    rows = [row for path in arguments.runs for row in measure(RunDirectory(path))]
    lines = table(rows)
    write_csv(result_path(arguments.name, ".csv"), COLUMNS, rows)
    commands = sorted({row["command"] for row in rows})
    lines = [*(f"`{command}`" for command in commands), "", *lines]
    write_result(arguments.name, "Searches side by side", lines, f"searches {arguments.name} RUN...")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
