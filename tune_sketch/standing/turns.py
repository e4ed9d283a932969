"""Says in words what each network of a search has had, and why it was one's turn."""

from collections.abc import Sequence
from dataclasses import replace

from tune_sketch.events import Trial
from tune_sketch.formatting import count_text, duration_text, percent
from tune_sketch.samplers.of_search import count_first
from tune_sketch.schedulers.networks import Spent, measure_networks, rank_of, take_turns
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.storage.facts import Facts


def measure(facts: Facts, trials: Sequence[Trial]) -> dict[str, Spent]:
    """Time and results of each network in a search over several."""
    rungs = {model: own.settings.rungs for model, own in facts.of_each().items()}
    return measure_networks(trials, rungs, count_first(facts))


def network_texts(facts: Facts, trials: Sequence[Trial]) -> list[str]:
    """Each network in a line: its trials, its share of the seconds, and its best; nothing where there is one."""
    if not facts.networks:
        return []
    spent, texts = measure(facts, trials), []
    total = sum(own.seconds for own in spent.values())
    next_one = next(iter(take_turns(spent).order), None)
    for model, own in spent.items():
        text = f"{model}: {count_text(own.num_trials, 'trial')}"
        if own.epochs:
            text += f", {duration_text(own.seconds)} of training ({percent(own.seconds / total)} of all)"
        for best in rank_trials(trial for trial in trials if trial.network == model)[:1]:
            assert best.best_epoch is not None
            text += f", best top-1 {percent(best.best_epoch.val_top1)} (trial {best.number})"
        if own.is_out:
            text += "; no trial could be trained, so it gets no more"
        texts.append(text + "  <- next" * (model == next_one))
    return texts


def explain_turn(facts: Facts, trial: Trial, trials: Sequence[Trial]) -> list[str]:
    """Why it was the turn of a trial's network when the trial was proposed; nothing where there is one."""
    if trial.network is None:
        return []
    spent, source = measure(facts, trials_then(trial, trials)), trial.source
    had = ", ".join(f"{model} {duration_text(own.seconds)}" for model, own in spent.items())
    if source.turn_seconds is None:
        return [
            f"network   {trial.network}: all get as much until their first configurations have passed their first rung",
            f"had then  {had}",
        ]
    step = duration_text(source.turn_seconds)
    if source.compared_seconds is None:
        again = " once more" if any(own.seconds >= source.turn_seconds for own in spent.values()) else ""
        return [
            f"network   {trial.network}: all get {step} of training before they are compared{again}",
            f"had then  {had}",
        ]
    values = {model: own.best_within(source.compared_seconds) for model, own in spent.items()}
    ranked = sorted(values.items(), key=lambda pair: rank_of(pair[1]))
    text = ", ".join(f"{model} {percent(value)}" for model, value in ranked)
    return [
        f"network   {trial.network}: on the way to {step} of training, which the better half may have",
        f"had then  {had}",
        f"compared  by the best validation top-1 within {duration_text(source.compared_seconds)} each: {text}",
    ]


def trials_then(trial: Trial, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that were proposed before this one, with the epochs that were recorded by then."""
    return [
        replace(other, epochs=tuple(epoch for epoch in other.epochs if epoch.recorded_at <= trial.started_at))
        for other in trials[: trial.number]
    ]
