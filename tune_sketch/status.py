"""Tells how a run stands, running or not, reading only: python -m tune_sketch.status RUN."""

import argparse
import collections
import sys
import textwrap
import time
from pathlib import Path

from tune_sketch.callbacks.budget import forecast
from tune_sketch.callbacks.progress import duration_text, name_of, percent
from tune_sketch.config.plan import budget_texts
from tune_sketch.config.settings import STRATEGIES
from tune_sketch.formatting import tell
from tune_sketch.schedulers.rungs import expected_epochs, rank_trials, rung_epochs, value_at_rung
from tune_sketch.storage.journal import Record
from tune_sketch.storage.run_directory import RunDirectory, read_csv, read_owner


def status_lines(run: RunDirectory, storage: str | None = None) -> list[str]:
    """Trials by state, best so far, rungs, cost, time left, and what a resume would do."""
    search, settings = run.read_search(), run.read_settings()
    journal = run.open_journal(storage, read_only=True)
    try:
        trials, retrainings = journal.trials, list(journal.retrainings.values())
    finally:
        journal.close()
    owner = read_owner(run)
    rungs = rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor)
    unfinished = [record for record in trials if record.is_unfinished]
    lines = [f"run directory  {run.path}", f"model, data    {settings.model}, {settings.data}"]
    if owner is None:
        lines.append("owner          nobody is at work on it")
    else:
        since = duration_text(time.time() - owner["since"])
        lines.append(f"owner          process {owner['process']} on {owner['host']}, for {since}")
    lines.append(f"strategy       {settings.strategy}: {STRATEGIES[settings.strategy]}")
    most = f"{'at most ' if settings.strategy == 'one-factor' else ''}{settings.num_samples}"
    lines.append(f"trials         {len(trials)} of {most}: {count_states(trials, owner is not None)}")
    ranked = rank_trials(trials)
    if ranked:
        best = ranked[0]
        config = ", ".join(f"{name} {short(value)}" for name, value in sorted(best.params.items()))
        top1, epochs = percent(best.best_epoch["val_top1"]), count(best.best_epoch["epoch"], "epoch")
        lines.append(f"best so far    {name_of(best)}: validation top-1 {top1} after {epochs}")
        lines += textwrap.wrap(config, 100, initial_indent=" " * 15, subsequent_indent=" " * 15)
    for rung in rungs:
        values = [value for record in trials if (value := value_at_rung(record, rung)) is not None]
        best_text = f", best top-1 {percent(max(value[0] for value in values))}" if values else ""
        stopped = sum(record.status == "stopped" and len(record.epochs) == rung for record in trials)
        lines.append(
            f"rung {rung:>4}      {count(len(values), 'trial')} came so far{best_text}; {stopped} stopped here"
        )
    lines += cost_lines(trials, retrainings)
    lines += budget_lines(trials, rungs, settings)
    if retrainings:
        lines.append(f"retrainings    {len(retrainings)}: {count_states(retrainings, owner is not None)}")
    lines.append(f"test split     {describe_test(run, retrainings)}")
    if owner is not None:
        lines.append(f"time left      {time_left_text(trials, settings, search)}")
    lines.append(f"a resume would {describe_resume(run, trials, retrainings, unfinished, settings)}")
    return lines


def count_states(records: list[Record], owned: bool) -> str:
    """States in words with their numbers. What runs without an owner was interrupted."""
    names = {"running": "running" if owned else "interrupted", "out_of_memory": "out of memory"}
    counts = collections.Counter(names.get(record.status, record.status) for record in records)
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "none"


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def describe_test(run: RunDirectory, retrainings: list[Record]) -> str:
    """Whether the test split has been read, and what the chosen configuration got there."""
    if not any(record.test for record in retrainings):
        return "not read yet"
    rows = read_csv(run.confirm_csv) if run.confirm_csv.is_file() else []
    chosen = [row for row in rows if row["is_chosen"] == "True" and row["test_top1"]]
    mean = next((float(row["test_top1"]) for row in chosen if row["row"] == "mean"), None)
    if mean is None:
        return "read"
    seeds = [row for row in chosen if row["row"] == "seed"]
    return (
        f"read: trial {seeds[0]['trial']}, chosen on validation, recognises {percent(mean)} of {seeds[0]['num_test']} "
        f"drawings (mean over {count(len(seeds), 'seed')})"
    )


def short(value: object) -> str:
    """A configuration's value on the screen."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def cost_lines(trials: list[Record], retrainings: list[Record]) -> list[str]:
    """What was spent on training, in worker hours."""
    lines = []
    for what, records in (("search cost", trials), ("confirm cost", retrainings)):
        seconds = sum(epoch["epoch_seconds"] for record in records for epoch in record.epochs)
        num_epochs = sum(len(record.epochs) for record in records)
        if num_epochs:
            lines.append(f"{what:<14} {duration_text(seconds)} of worker time, {num_epochs} epochs")
    return lines


def budget_lines(trials: list[Record], rungs: list[int], settings) -> list[str]:
    """What the search may spend, and what more of it can be expected to bring."""
    lines = [f"budget         ends after {text}" for text in budget_texts(settings)]
    expected = forecast(trials, rungs) if settings.strategy != "one-factor" else None
    if expected is not None:
        lines.append(f"more search    {expected.text()}")
    return lines


def time_left_text(trials: list[Record], settings, search) -> str:
    """Expected epochs still to search, at the pace of this sitting."""
    started = search["sittings"][-1]["started_at"] if search["sittings"] else time.time()
    done = sum(epoch["recorded_at"] >= started for record in trials for epoch in record.epochs)
    if not done:
        return "not known before the first epoch"
    expected = expected_epochs(settings)
    left = max(0, settings.num_samples - len(trials)) * expected
    left += sum(max(1.0, expected - len(record.epochs)) for record in trials if record.is_unfinished)
    return f"about {duration_text(left * (time.time() - started) / done)} for the search, then the retrainings"


def describe_resume(run, trials, retrainings, unfinished, settings) -> str:
    """What `--resume` would do now."""
    steps = []
    if unfinished:
        steps.append(
            f"continue {len(unfinished)} trials ("
            + ", ".join(f"{record.number} after epoch {len(record.epochs)}" for record in unfinished[:8])
            + (", ..." if len(unfinished) > 8 else "")
            + ")"
        )
    if settings.strategy == "one-factor" and not retrainings:
        steps.append("go on with the steps that are left")
    elif settings.strategy != "one-factor" and settings.num_samples > len(trials):
        steps.append(f"start {settings.num_samples - len(trials)} new trials")
    left = [record for record in retrainings if record.is_unfinished]
    if left:
        steps.append(f"continue {len(left)} retrainings")
    if steps or not retrainings:
        steps.append("retrain the finalists and read the test split")
    elif any(record.test is None for record in retrainings if record.status == "completed"):
        steps.append("read the test split")
    if not steps:
        more = "--passes N" if settings.strategy == "one-factor" else "--num-samples N"
        return f"find nothing to do; extend it: python -m tune_sketch.search --resume {run.path} {more}"
    return ", then ".join(steps)


def main(argv: list[str] | None = None) -> int:
    """The command. Exit code 2 for what is not a run directory."""
    parser = argparse.ArgumentParser(prog="python -m tune_sketch.status", description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("--storage", metavar="URL", help="the study's database, if it needs a password")
    arguments = parser.parse_args(argv)
    return tell(lambda: status_lines(RunDirectory(arguments.run), arguments.storage))


if __name__ == "__main__":
    sys.exit(main())
