"""Says how a run stands, running or not, reading only: python -m tune_sketch.status RUN."""

import argparse
import sys
import textwrap
from collections.abc import Sequence

from tune_sketch.callbacks.budget import forecast_search
from tune_sketch.config.plan import budget_texts
from tune_sketch.data.paths import path_argument
from tune_sketch.events import Trial
from tune_sketch.formatting import count_text, duration_text, name_of, percent, print_lines, short_text
from tune_sketch.retraining.finalists import find_finalists
from tune_sketch.samplers import SAMPLERS
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.standing.progress import count_states, describe_resume, present, time_left_text
from tune_sketch.standing.turns import network_texts
from tune_sketch.standing.watching import watch
from tune_sketch.storage.facts import Facts, read_facts
from tune_sketch.storage.history import History
from tune_sketch.storage.lock import read_owner
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.spent import measure_spent


def status_lines(run: RunDirectory, storage: str | None = None) -> list[str]:
    """Trials by state, best so far, rungs, cost, time left, and what a resume would do."""
    facts, history, owner = read_facts(run), read_history(run, storage), read_owner(run)
    settings, trials, retrainings = facts.settings, history.trials, list(history.retrainings.values())
    last_steps = list(history.last_steps.values())
    sampler = SAMPLERS[settings.strategy]
    lines = [f"run directory  {run.path}", f"model, data    {', '.join(facts.models)}, {settings.data}"]
    if owner is None:
        lines.append("owner          nobody is at work on it")
    else:
        seconds = owner.seconds()
        since = "" if seconds is None else f", for {duration_text(seconds)}"
        lines.append(f"owner          process {owner.process} on {owner.host}{since}")
    lines.append(f"strategy       {settings.strategy}: {sampler.summary}")
    most = f"{'at most ' * (bool(sampler.most_trials) or settings.has_budget)}{settings.num_samples}"
    lines.append(f"trials         {len(trials)} of {most}: {count_states(trials, owner is not None)}")
    lines += hindrance_lines(history)
    lines += best_lines(trials)
    lines += [f"network        {text}" for text in network_texts(facts, trials)]
    lines += rung_lines(facts, trials)
    lines += cost_lines(trials, [*(t for t in retrainings if not t.is_of_search), *last_steps])
    lines += budget_lines(trials, facts)
    if facts.division is not None:
        spent = measure_spent(facts.sessions, history, present(facts, owner) if owner is not None else None)
        total = duration_text(facts.division.total_seconds)
        lines.append(f"total time     {duration_text(spent.total)} of {total} used, all sessions together")
    if retrainings:
        lines.append(f"retrainings    {len(retrainings)}: {count_states(retrainings, owner is not None)}")
    if last_steps:
        lines.append(f"last step      {count_states(last_steps, owner is not None)}")
    lines.append(f"test split     {describe_test(history)}")
    if owner is not None:
        lines.append(f"time left      {time_left_text(history, facts, present(facts, owner))}")
    lines.append(f"a resume would {describe_resume(run, history, facts)}")
    return lines


def rung_lines(facts: Facts, trials: Sequence[Trial]) -> list[str]:
    """How many trials came to each rung of each network, the best of them, and how many were stopped there."""
    lines = []
    for model, its in facts.of_each().items():
        own = [trial for trial in trials if trial.network in (None, model)]
        for rung in its.settings.rungs:
            values = [epoch.val_top1 for trial in own if (epoch := trial.epoch_at(rung)) is not None]
            best_text = f", best top-1 {percent(max(values))}" if values else ""
            stopped = sum(trial.status == "stopped" and len(trial.epochs) == rung for trial in own)
            of_network = f" ({model})" if facts.networks else ""
            lines.append(
                f"rung {rung:>4}      {count_text(len(values), 'trial')} came so far{best_text}; "
                f"{stopped} stopped here{of_network}"
            )
    return lines


def hindrance_lines(history: History) -> list[str]:
    """The cause of the interruption, if nothing has been trained since: files or the machine, no configuration."""
    known = history.notes.get("hindrance")
    trainings = [*history.trials, *history.retrainings.values()]
    if known is None or any(trial.epochs and trial.epochs[-1].recorded_at > known["at"] for trial in trainings):
        return []
    return [f"interrupted    {known['training']} could not be trained: {known['reason']}"]


def best_lines(trials: Sequence[Trial]) -> list[str]:
    """The best trial so far with its sampled values."""
    for best in rank_trials(trials)[:1]:
        epoch = best.best_epoch
        assert epoch is not None
        config = ", ".join(f"{name} {short_text(value)}" for name, value in sorted(best.params.items()))
        top1, epochs = percent(epoch.val_top1), count_text(epoch.number, "epoch")
        return [
            f"best so far    {name_of(best)}: validation top-1 {top1} after {epochs}",
            *textwrap.wrap(config, 100, initial_indent=" " * 15, subsequent_indent=" " * 15),
        ]
    return []


def describe_test(history: History) -> str:
    """Whether the test split has been read, and what the chosen configuration got there."""
    chosen = next((f for f in find_finalists(history) if f.is_chosen and f.values("test_top1")), None)
    if chosen is None:
        return "read" if any(trial.test for trial in history.retrainings.values()) else "not read yet"
    num_test = next(trial.test.num_images for trial in chosen.retrainings if trial.test is not None)
    return (
        f"read: trial {chosen.number}, chosen on validation, recognises {percent(chosen.mean('test_top1'))} of "
        f"{num_test} drawings (mean over {count_text(len(chosen.values('test_top1')), 'seed')})"
    )


def cost_lines(trials: Sequence[Trial], retrainings: Sequence[Trial]) -> list[str]:
    """Time spent on training, in worker hours."""
    lines = []
    for what, some in (("search cost", trials), ("retrain cost", retrainings)):
        seconds, num_epochs = sum(trial.train_seconds for trial in some), sum(len(trial.epochs) for trial in some)
        if num_epochs:
            lines.append(f"{what:<14} {duration_text(seconds)} of worker time, {num_epochs} epochs")
    return lines


def budget_lines(trials: Sequence[Trial], facts: Facts) -> list[str]:
    """The budgets of the search, and the gain that more of it can be expected to bring."""
    settings, rungs = facts.settings, {model: own.settings.rungs for model, own in facts.of_each().items()}
    lines = [f"budget         ends after {text}" for text in budget_texts(settings)]
    expected = forecast_search(trials, rungs) if SAMPLERS[settings.strategy].stops_trials else None
    if expected is not None:
        lines.append(f"more search    {expected.text()}")
    return lines


def main(argv: list[str] | None = None) -> int:
    """The command. Exit code 2 for what is not a run directory."""
    parser = argparse.ArgumentParser(prog="python -m tune_sketch.status", description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=path_argument, help="a run directory")
    parser.add_argument("--storage", metavar="URL", help="the database of the record, if it needs a password")
    parser.add_argument("--watch", action="store_true", help="draw it again and again until the search ends")
    arguments = parser.parse_args(argv)
    if arguments.watch:
        return watch(RunDirectory(arguments.run), arguments.storage)
    return print_lines(lambda: status_lines(RunDirectory(arguments.run), arguments.storage))


if __name__ == "__main__":
    sys.exit(main())
