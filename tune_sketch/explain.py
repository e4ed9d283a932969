"""Tells why a configuration was tried and why it was stopped, reading only: python -m tune_sketch.explain RUN TRIAL."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tune_sketch.callbacks.progress import PHRASES, duration_text, percent
from tune_sketch.config.settings import SearchSettings
from tune_sketch.formatting import tell
from tune_sketch.schedulers.rungs import cutoff_before, rung_epochs, value_at_rung
from tune_sketch.storage.journal import Record
from tune_sketch.storage.run_directory import RunDirectory


def explain_lines(run: RunDirectory, number: int, storage: str | None = None) -> list[str]:
    """Why the trial was suggested, from which values, and what was decided at each rung. ValueError: no such trial."""
    settings = run.read_settings()
    journal = run.open_journal(storage, read_only=True)
    try:
        trials, retrainings = journal.trials, list(journal.retrainings.values())
    finally:
        journal.close()
    if not 0 <= number < len(trials):
        have = f"trials 0 to {len(trials) - 1}" if trials else "no trial yet"
        raise ValueError(f"{run.path} has {have}, got {number}")
    record = trials[number]
    rungs = rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor)
    lines = [f"trial {number}  {describe_ending(record)}", ""]
    lines += why_lines(record, trials, rungs, settings)
    lines += configuration_lines(record, known_then(record, trials, rung_of(record, trials, rungs)))
    lines += rung_lines(record, trials, rungs, settings)
    lines += finalist_lines(record, retrainings)
    return lines


def describe_ending(record: Record) -> str:
    """How the trial ended, or that it has not."""
    phrase = PHRASES.get(record.status, record.status)
    text = f"{phrase} after {len(record.epochs)} of {record.config['epochs']} epochs"
    if record.epochs:
        seconds = sum(epoch["epoch_seconds"] for epoch in record.epochs)
        text += f", validation top-1 {percent(record.last_value)}, {duration_text(seconds)} of training"
    return text + (f" ({record.error})" if record.error else "")


def known_then(record: Record, trials: Sequence[Record], rung: int | None) -> list[tuple[float, Record]]:
    """(value, trial) that were known at a rung when the trial was suggested, best first."""
    if rung is None:
        return []
    known = []
    for other in trials:
        reached = value_at_rung(other, rung)
        if other is not record and reached is not None and reached[1] <= record.started_at:
            known.append((reached[0], other))
    return sorted(known, key=lambda pair: (-pair[0], pair[1].number))


def rung_of(record: Record, trials: Sequence[Record], rungs: Sequence[int]) -> int | None:
    """The rung to look at: the model's, else the deepest that had a value then."""
    if record.origin["rung"] is not None:
        return record.origin["rung"]
    return next((rung for rung in reversed(rungs) if known_then(record, trials, rung)), None)


def why_lines(record: Record, trials: Sequence[Record], rungs: Sequence[int], settings: SearchSettings) -> list[str]:
    """Where the configuration came from."""
    origin, strategy = record.origin, settings.strategy
    then = {rung: known_then(record, trials, rung) for rung in rungs}
    counts = ", ".join(f"{len(known)} at epoch {rung}" for rung, known in then.items() if known) or "none"
    if origin["kind"] == "study":
        return ["why       the study's own configuration, which every search tries first"]
    if origin["kind"] == "warm-start":
        return [f"why       warm start: trial {origin['trial']} of {origin['run']} was among the best there"]
    if origin["kind"] == "one-factor":
        return one_factor_lines(record, trials)
    if origin["kind"] == "random" and strategy == "random":
        return ["why       drawn at random: --strategy random looks at no value"]
    if origin["kind"] == "random":
        return [
            "why       drawn at random: before a model has enough values all are, and later some, lest it be wrong",
            f"values    known then: {counts}",
        ]
    if origin["kind"] in ("crossed", "model") and origin["rung"] is not None:
        known = then.get(origin["rung"]) or known_then(record, trials, origin["rung"])
        if origin["kind"] == "crossed":
            parent = trials[origin["parent"]]
            kept = [name for name, value in record.params.items() if parent.params.get(name) == value]
            lines = [
                f"why       trial {parent.number}, the best at epoch {origin['rung']} then, crossed with a random one",
                f"kept      {', '.join(kept) or 'nothing'}",
            ]
        else:
            lines = [
                f"why       a model (TPE) of the values at epoch {origin['rung']}: a configuration more likely among",
                "          the good ones there than among the others",
            ]
        lines.append(
            f"values    {len(known)} known at that epoch then, {percent(known[-1][0])} to {percent(known[0][0])}"
            if known
            else "values    (not in the journal any more)"
        )
        if known:
            lines.append("best      " + ", ".join(f"trial {r.number} {percent(v)}" for v, r in known[:5]))
        return lines
    if origin["kind"] == "model":
        return [
            "why       a model (TPE) of each trial's last value, whatever its epoch (--strategy tpe)",
            f"values    {origin.get('num_values', 'unknown')} trials had ended then",
        ]
    more = ", ".join(f"{name} {value}" for name, value in origin.items() if name not in ("kind", "rung") and value)
    return [f"why       {origin['kind']}" + (f" ({more})" if more else "")]


def one_factor_lines(record: Record, trials: Sequence[Record]) -> list[str]:
    """The step of the study's procedure, and the trials that it compares."""
    origin = record.origin
    step, num_epochs = origin["step"], origin["num_epochs"]
    pass_text = f", pass {origin['pass']}" if origin["pass"] > 1 else ""
    if step == "epochs":
        what = "the best values of all factors so far, to see how many epochs they need"
    else:
        what = f"one factor at a time, now {step}: all else stays at the best value so far"
    lines = [f"why       {what} (step {step}{pass_text})"]

    def is_beside(other: Record) -> bool:
        same = all(other.origin.get(name) == origin[name] for name in ("kind", "pass", "step", "num_epochs"))
        return same or other.number in origin["beside"]

    by_loss = origin["by"] == "val_loss"
    judged = "validation loss" if by_loss else "validation top-1"
    lines.append(f"compared  by {judged} after epoch {num_epochs}:")
    rows = []
    for other in trials:
        if not is_beside(other):
            continue
        value = other.config.get("decay" if step == "decay_kind" else step, "")
        if len(other.epochs) >= num_epochs:
            epoch = other.epochs[num_epochs - 1]
            score = epoch["val_loss"] if by_loss else -epoch["val_top1"]
            shown = f"{epoch['val_loss']:.4f}" if by_loss else percent(epoch["val_top1"])
        else:
            score, shown = math.inf, PHRASES.get(other.status, other.status)
        rows.append((score, other.number, f"{short(value):<12} {shown:>10}"))
    for score, number, text in sorted(rows):
        mark = "  <- this one" if number == record.number else ""
        best = "  best" if score == min(row[0] for row in rows) and score < math.inf else ""
        lines.append(f"          trial {number:<4} {text}{best}{mark}")
    return lines


def configuration_lines(record: Record, known: Sequence[tuple[float, Record]]) -> list[str]:
    """Each value beside those of the best trials that were known then."""
    best = [other for _, other in known[: max(3, math.ceil(0.1 * len(known)))]]
    header = f"{'configuration':<20}{'this trial':>14}"
    if best:
        header += f"   of the best {len(best)} then: trials " + ", ".join(str(other.number) for other in best[:8])
    lines = ["", header]
    for name, value in record.config.items():
        line = f"  {name:<18}{short(value):>14}"
        values = [other.config[name] for other in best if name in other.config]
        lines.append(line + (f"   {range_text(values)}" if values else ""))
    return lines


def range_text(values: Sequence[Any]) -> str:
    """The values of several trials in short."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        return short(low) if low == high else f"{short(low)} to {short(high)}"
    return ", ".join(dict.fromkeys(short(value) for value in sorted(values, key=str)))


def rung_lines(record: Record, trials: Sequence[Record], rungs: Sequence[int], settings: SearchSettings) -> list[str]:
    """At each rung that the trial reached: its value, the values before it, the cutoff, the decision."""
    if settings.strategy == "one-factor":
        return ["", "rungs     none: --strategy one-factor stops no trial"]
    lines = [
        "",
        f"rungs     a trial goes on when it is among the best 1 in {settings.reduction_factor} of those before it",
    ]
    for rung in rungs[:-1]:
        if len(record.epochs) < rung:
            continue
        value = record.epochs[rung - 1]["val_top1"]
        cutoff, before = cutoff_before(trials, record, rung, settings.reduction_factor)
        better = sum(other > value for other in before.values())
        if cutoff is None:
            lines.append(f"epoch {rung:>3}  {percent(value)}, the first to get there: went on")
            continue
        stopped = record.status == "stopped" and len(record.epochs) == rung
        lines.append(
            f"epoch {rung:>3}  {percent(value)} {'under' if value < cutoff else 'reached'} the cutoff of "
            f"{percent(cutoff)}: {'stopped' if stopped else 'went on'}. {better} of {len(before)} before it were better"
        )
        if stopped:
            ranked = sorted(before.items(), key=lambda pair: -pair[1])[:5]
            lines.append("           best there: " + ", ".join(f"trial {n} {percent(v)}" for n, v in ranked))
    if len(lines) == 2:
        lines.append("          it has not reached one" if record.is_unfinished else "          it reached none")
    return lines


def finalist_lines(record: Record, retrainings: Sequence[Record]) -> list[str]:
    """What fresh seeds gave, where it was a finalist."""
    own = [r for r in retrainings if r.number == record.number and r.status == "completed"]
    if not own:
        return []
    values = ", ".join(percent(r.last_value) for r in sorted(own, key=lambda r: r.key))
    return ["", f"finalist  validation top-1 on fresh seeds: {values}"]


def short(value: object) -> str:
    """A value on the screen."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main(argv: list[str] | None = None) -> int:
    """The command. Exit code 2 for what is not a run directory, or no trial in it."""
    parser = argparse.ArgumentParser(prog="python -m tune_sketch.explain", description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("trial", type=int, help="the trial's number")
    parser.add_argument("--storage", metavar="URL", help="the study's database, if it needs a password")
    arguments = parser.parse_args(argv)
    return tell(lambda: explain_lines(RunDirectory(arguments.run), arguments.trial, arguments.storage))


if __name__ == "__main__":
    sys.exit(main())
