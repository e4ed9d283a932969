"""Explains why a trial was tried and why it was stopped, reading only: python -m tune_sketch.explain RUN TRIAL."""

import argparse
import math
import sys
from collections.abc import Sequence

from tune_sketch.data.paths import path_argument
from tune_sketch.events import Epoch, Trial, Value
from tune_sketch.formatting import PHRASES, duration_text, percent, print_lines, short_text
from tune_sketch.samplers import SAMPLERS
from tune_sketch.standing.turns import explain_turn
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.history import History
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory

Known = list[tuple[float, Trial]]  # values at a rung that were known when a trial was proposed, best first


def explain_lines(run: RunDirectory, number: int, storage: str | None = None) -> list[str]:
    """Why the trial was proposed, from which values, and what was decided at each rung. ValueError: no such trial."""
    facts, history = read_facts(run), read_history(run, storage)
    trials = history.trials
    if not 0 <= number < len(trials):
        have = f"trials 0 to {len(trials) - 1}" if trials else "no trial yet"
        raise ValueError(f"{run.path} has {have}, got {number}")
    trial = trials[number]
    settings = facts.of(trial.network).settings
    own = [other for other in trials if other.network == trial.network]
    rungs = settings.rungs
    known = {rung: known_then(trial, own, rung) for rung in rungs}
    deepest = trial.source.rung or max((rung for rung in rungs if known[rung]), default=rungs[0])
    return [
        f"trial {number}  {describe_ending(trial)}",
        "",
        *explain_turn(facts, trial, trials),
        *source_lines(trial, trials, known, settings.strategy),
        *configuration_lines(trial, known.get(deepest) or known_then(trial, own, deepest)),
        *rung_lines(trial, rungs, settings.reduction_factor, SAMPLERS[settings.strategy].stops_trials),
        *finalist_lines(trial, history),
    ]


def describe_ending(trial: Trial) -> str:
    """How the trial ended, or that it has not."""
    text = f"{PHRASES.get(trial.status, trial.status)} after {len(trial.epochs)} of {trial.config['epochs']} epochs"
    if trial.epochs:
        seconds = duration_text(trial.train_seconds)
        text += f", validation top-1 {percent(trial.epochs[-1].val_top1)}, {seconds} of training"
    return text + (f" ({trial.error})" if trial.error else "")


def known_then(trial: Trial, trials: Sequence[Trial], rung: int) -> Known:
    """The values at a rung that were recorded before the trial was proposed, best first."""
    known = [
        (epoch.val_top1, other)
        for other in trials
        if (epoch := other.epoch_at(rung)) is not None
        and epoch.recorded_at <= trial.started_at
        and other.number != trial.number
    ]
    return sorted(known, key=lambda pair: (-pair[0], pair[1].number))


def source_lines(trial: Trial, trials: Sequence[Trial], known: dict[int, Known], strategy: str) -> list[str]:
    """Where the configuration came from."""
    source = trial.source
    counts = ", ".join(f"{len(values)} at epoch {rung}" for rung, values in known.items() if values) or "none"
    if source.kind == "paper":
        return ["why       the paper's own configuration, which is always tried first"]
    if source.kind == "recipe":
        return ["why       today's recipe for this network, which is always tried after the paper's configuration"]
    if source.kind == "experience":
        return [f"why       among the best of trainings on {source.run} that come with the program (--no-experience)"]
    if source.kind == "warm-start":
        return [f"why       among the best of an earlier search: trial {source.trial} of {source.run} (--warm-start)"]
    if source.kind == "one-factor":
        return one_factor_lines(trial, [other for other in trials if other.network == trial.network])
    if source.kind == "random" and strategy == "random":
        return ["why       drawn at random: --strategy random looks at no value"]
    if source.kind == "random":
        return [
            "why       drawn at random, like every trial until the strategy has enough values, and some after",
            f"values    known then: {counts}",
        ]
    if source.kind == "mutated" and source.rung is None:
        return [
            f"why       a mutation of trial {source.parent}, today's recipe: no rung had enough values yet",
            f"kept      {kept_text(trial, trials)}",
        ]
    if source.rung is None:
        return [
            "why       TPE of each trial's last value, whatever its epoch (--strategy tpe)",
            f"values    {source.num_values} trials had ended then",
        ]
    if source.parent is not None:
        parent = trials[source.parent]
        lines = [
            f"why       a mutation of trial {parent.number}, the best at epoch {source.rung} then",
            f"kept      {kept_text(trial, trials)}",
        ]
    else:
        lines = [f"why       Optuna's TPE, from the values at epoch {source.rung}"]
    own = [other for other in trials if other.network == trial.network]
    values = known.get(source.rung) or known_then(trial, own, source.rung)
    if values:
        lines.append(
            f"values    {len(values)} known at that epoch then, {percent(values[-1][0])} to {percent(values[0][0])}"
        )
        lines.append("best      " + ", ".join(f"trial {t.number} {percent(v)}" for v, t in values[:5]))
    return lines


def kept_text(trial: Trial, trials: Sequence[Trial]) -> str:
    """The parameters that a mutation left as its parent has them."""
    assert trial.source.parent is not None
    parent = trials[trial.source.parent]
    return ", ".join(name for name, value in trial.params.items() if parent.params.get(name) == value) or "nothing"


def one_factor_lines(trial: Trial, trials: Sequence[Trial]) -> list[str]:
    """The step of the paper's procedure, and the trials that it compares."""
    source = trial.source
    assert source.number_of_pass is not None
    pass_text = f", pass {source.number_of_pass}" if source.number_of_pass > 1 else ""
    if source.step == "epochs":
        what = "the best values of all factors so far, to see how many epochs they need"
    else:
        what = f"one factor at a time, now {source.step}: all else stays at the best value so far"
    by_loss = source.compared_by == "val_loss"
    judged = "validation loss" if by_loss else "validation top-1"
    lines = [
        f"why       {what} (step {source.step}{pass_text})",
        f"compared  by {judged} after epoch {source.num_epochs}:",
    ]
    rows = []
    for other in trials:
        if not is_compared(trial, other):
            continue
        value = other.config.get("decay" if source.step == "decay_kind" else str(source.step), "")
        epoch = epoch_number(other, source.num_epochs)
        if epoch is not None:
            score = epoch.val_loss if by_loss else -epoch.val_top1
            shown = f"{epoch.val_loss:.4f}" if by_loss else percent(epoch.val_top1)
        else:
            score, shown = math.inf, PHRASES.get(other.status, other.status)
        rows.append((score, other.number, f"{short_text(value):<12} {shown:>10}"))
    best = min(row[0] for row in rows)
    for score, number, text in sorted(rows):
        mark = "  <- this one" if number == trial.number else ""
        lines.append(f"          trial {number:<4} {text}{'  best' if score == best < math.inf else ''}{mark}")
    return lines


def is_compared(trial: Trial, other: Trial) -> bool:
    """Whether a trial belongs to the same step of one factor at a time."""
    ours, theirs = trial.source, other.source
    names = ("kind", "number_of_pass", "step", "num_epochs")
    is_same_step = all(getattr(ours, name) == getattr(theirs, name) for name in names)
    return is_same_step or other.number in (ours.compared_with or ())


def epoch_number(trial: Trial, number: int | None) -> Epoch | None:
    """An epoch by its number, if the trial got there."""
    return trial.epochs[number - 1] if number is not None and len(trial.epochs) >= number else None


def configuration_lines(trial: Trial, known: Known) -> list[str]:
    """Each value beside those of the best trials that were known then."""
    best = [other for _, other in known[: max(3, math.ceil(0.1 * len(known)))]]
    header = f"{'configuration':<20}{'this trial':>14}"
    if best:
        header += f"   of the best {len(best)} then: trials " + ", ".join(str(other.number) for other in best[:8])
    lines = ["", header]
    for name, value in trial.config.items():
        values = [other.config[name] for other in best if name in other.config]
        lines.append(f"  {name:<18}{short_text(value):>14}" + (f"   {range_text(values)}" if values else ""))
    return lines


def range_text(values: Sequence[Value]) -> str:
    """The values of several trials in short."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        low, high = min(numbers), max(numbers)
        return short_text(low) if low == high else f"{short_text(low)} to {short_text(high)}"
    return ", ".join(dict.fromkeys(short_text(value) for value in sorted(values, key=str)))


def rung_lines(trial: Trial, rungs: Sequence[int], reduction_factor: int, stops_trials: bool) -> list[str]:
    """At each rung that the trial reached: its value, the cutoff, and the decision, as recorded then."""
    if not stops_trials:
        return ["", "rungs     none: this strategy stops no trial"]
    lines = [
        "",
        f"rungs     a trial goes on when it is among the best 1 in {reduction_factor} of those before it",
    ]
    for rung in rungs[:-1]:
        epoch = epoch_number(trial, rung)
        if epoch is None:
            continue
        decision, value = epoch.decision, percent(epoch.val_top1)
        if decision is None:
            lines.append(f"epoch {rung:>3}  {value}; version 0.1 did not record what was decided")
        elif decision.cutoff is None:
            lines.append(f"epoch {rung:>3}  {value}, the first to get there: went on")
        else:
            is_stopped = decision.verdict == "stop"
            lines.append(
                f"epoch {rung:>3}  {value} {'under' if is_stopped else 'reached'} the cutoff of "
                f"{percent(decision.cutoff)}: {'stopped' if is_stopped else 'went on'}. "
                f"{decision.num_better} of {decision.num_compared} before it were better"
            )
    if len(lines) == 2:
        lines.append("          it has not reached one" if trial.is_unfinished else "          it reached none")
    return lines


def finalist_lines(trial: Trial, history: History) -> list[str]:
    """The results of fresh seeds, where it was a finalist."""
    own = [t for _, t in sorted(history.retrainings.items()) if t.number == trial.number and t.status == "completed"]
    if not own:
        return []
    return ["", f"finalist  validation top-1 on fresh seeds: {', '.join(percent(t.epochs[-1].val_top1) for t in own)}"]


def main(argv: list[str] | None = None) -> int:
    """The command. Exit code 2 for what is not a run directory, or no trial in it."""
    parser = argparse.ArgumentParser(prog="python -m tune_sketch.explain", description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=path_argument, help="a run directory")
    parser.add_argument("trial", type=int, help="the trial's number")
    parser.add_argument("--storage", metavar="URL", help="the database of the record, if it needs a password")
    arguments = parser.parse_args(argv)
    return print_lines(lambda: explain_lines(RunDirectory(arguments.run), arguments.trial, arguments.storage))


if __name__ == "__main__":
    sys.exit(main())
