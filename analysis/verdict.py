"""The verdict on one run: the result in a few sentences, its cost, and the reasons to doubt it."""

from typing import Any

from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.costs import tabulate_costs
from tune_sketch.analysis.tables.networks import tabulate_networks
from tune_sketch.analysis.tables.selection_bias import tabulate_selection_bias
from tune_sketch.analysis.text import interval_text, percent_text
from tune_sketch.commands import command_text
from tune_sketch.formatting import count_text, duration_text
from tune_sketch.retraining.finalists import Finalist, shipped_network
from tune_sketch.search_spaces import MAX_EVEN_RATIO
from tune_sketch.statistics import wilson_interval

SMALL_TEST = 1000
SELECTION_MARGIN = 0.02
# What was known before the search, by the name of its numbers.
KNOWN = {"baseline": "trained as the paper did it", "recipe": "by today's recipe without a search"}


def tabulate_verdict(run: RunData) -> Rows:
    """Every number of the verdict and its warnings by name, and the file that it comes from."""
    data, chosen = run.facts.data, run.chosen
    rows: Rows = []

    def note(name: str, value: Any, source: str) -> None:
        if value is not None:
            rows.append({"name": name, "value": value, "source": source})

    note("num_train", data.num_train, "search.json")
    note("num_validation", data.num_validation, "search.json")
    note("num_test", data.num_test, "search.json")
    if data.split_origin:
        note("num_copies", data.num_copies, "search.json")
        note("num_copies_across", data.num_copies_across, "search.json")
    note("num_classes", data.num_classes, "search.json")
    note("num_skipped", len(data.skipped), "search.json")
    note("num_near_copies", data.num_near_copies, "search.json")
    note("num_near_copies_across", data.num_near_copies_across, "search.json")
    if data.largest_class is not None and data.smallest_class is not None:
        note("largest_class", data.largest_class.num_drawings, f"search.json: {data.largest_class.name}")
        note("smallest_class", data.smallest_class.num_drawings, f"search.json: {data.smallest_class.name}")
        note("class_ratio", data.class_ratio, "largest_class / smallest_class")
    note("chance_of_drawings", half_width(wilson_interval(0.5, data.num_test)), "search.json: Wilson, num_test")
    note("num_samples", run.settings.num_samples, "search.json")
    note("num_trials", len(run.trials), "trials.csv")
    if run.network is not None:
        own = sum(trial.network == run.network for trial in run.trials)
        note("num_trials_of_network", own, f"trials.csv: {run.network}")
    note("num_compared", len(run.ranked), "trials.csv")
    note("num_ended", sum(not trial.is_unfinished for trial in run.trials), "trials.csv")
    bad = [trial for trial in run.trials if trial.status in ("failed", "out_of_memory", "diverged")]
    note("num_failed", len(bad), "trials.csv")
    if run.ranked:
        best = run.ranked[0].best_epoch
        assert best is not None
        note("best_val_top1_in_search", best.val_top1, "epochs.csv")
        note("best_epochs_in_search", best.number, "epochs.csv")
    costs = {row["part"]: row for row in tabulate_costs(run)}
    if costs:
        note("train_seconds", sum(row["worker_seconds"] for row in costs.values()), "costs.csv")
        for part, name in (("search", "search"), ("retraining of finalists", "retraining")):
            for value in ("num_trainings", "num_epochs") if part in costs else ():
                note(f"{name}_{value}", costs[part][value], "costs.csv")
    top1 = chosen.mean("test_top1") if chosen is not None else None
    if chosen is None or top1 is None:
        return rows
    note("num_seeds", len(chosen.retrainings), "retraining.csv")
    for metric in ("test_top1", "test_top5", "test_balanced_accuracy", "test_f1", "val_top1"):
        note(metric, chosen.mean(metric), "finalists.csv: mean of the chosen finalist")
    for end, bound in zip(("low", "high"), chosen.interval("test_top1") or (), strict=False):
        note(f"test_top1_{end}", bound, "finalists.csv: t over seeds")
    for end, bound in zip(("low", "high"), wilson_interval(min(1.0, max(0.0, top1)), data.num_test), strict=True):
        note(f"test_top1_wilson_{end}", bound, "Wilson, from test_top1 and num_test")
    shipped = shipped_network(run.history)
    if shipped is not None and shipped.is_last_step and shipped.test is not None:
        note("last_step_num_drawings", data.num_train + data.num_validation, "winner.csv: last step")
        note("last_step_num_epochs", len(shipped.epochs), "retraining_epochs.csv, without a seed index")
        note("last_step_test_top1", shipped.test.top1, "winner.csv: last step")
        for end, bound in zip(("low", "high"), wilson_interval(shipped.test.top1, data.num_test), strict=True):
            note(f"last_step_test_top1_{end}", bound, "winner.csv: last step")
    for other in (other for other in run.finalists if other.is_baseline or other.is_recipe):
        if other is chosen or other.network != chosen.network:
            continue
        known, known_top1 = "baseline" if other.is_baseline else "recipe", other.mean("test_top1")
        if known_top1 is not None:
            note(f"{known}_test_top1", known_top1, f"finalists.csv: mean of trial {other.number}")
            note(f"gain_over_{known}", top1 - known_top1, f"test_top1 - {known}_test_top1")
    if len(run.finalists) > 1 and chosen.chance_of_best is not None:
        note("num_finalists", len(run.finalists), "finalists.csv")
        note("chance_of_best", chosen.chance_of_best, "finalists.csv")
    selected = next(iter(tabulate_selection_bias(run)), None)  # the search's best of those that were retrained
    if selected is not None:
        note("selected_trial", selected["trial"], "selection_bias.csv")
        note("selected_place", selected["place_in_search"], "selection_bias.csv")
        note("selection_bias", selected["bias"], "selection_bias.csv")
    return rows


def half_width(interval: tuple[float, float]) -> float:
    """Distance of an interval's ends from its centre."""
    return (interval[1] - interval[0]) / 2


def numbers_of(run: RunData) -> Row:
    """{name: number} of the verdict."""
    return {row["name"]: row["value"] for row in tabulate_verdict(run)}


def state_result(run: RunData) -> list[str]:
    """The verdict on one run, whatever state it is in: two sentences for a newcomer, then the details."""
    its = numbers_of(run)
    if "test_top1" not in its:
        return state_progress(run)
    assert run.chosen is not None
    between = interval_text(its["test_top1_wilson_low"], its["test_top1_wilson_high"])
    within_five = f", and {percent_text(its['test_top5'])} within five guesses" * (its["num_classes"] > 5)
    sentences = [
        f"The {'chosen' if has_lost(its) else 'best'} {run.model} recognises {percent_text(its['test_top1'])} "
        f"of {its['num_test']:,} drawings that it had never seen at its first guess among {its['num_classes']} "
        f"classes{within_five}.",
        state_gain(its),
        f"{name_evidence(run.chosen)}, which was chosen on validation. 95 % interval of the first guess of one network "
        f"on that many drawings: {between} (Wilson)"
        + (f"; over seeds: {over_seeds} (Student's t)." if (over_seeds := interval_over_seeds(its)) else "."),
    ]
    if "test_balanced_accuracy" in its:
        sentences.append(
            "Balanced accuracy, to which every class counts alike, is "
            f"{percent_text(its['test_balanced_accuracy'])}; macro F1 is {percent_text(its['test_f1'])}."
        )
    sentences += state_networks(run)
    sentences.append(state_split(run))
    if "last_step_test_top1" in its:
        between = interval_text(its["last_step_test_top1_low"], its["last_step_test_top1_high"])
        epochs, shipped = count_text(its["last_step_num_epochs"], "epoch"), shipped_network(run.history)
        goes_on = shipped is not None and shipped.follows is not None  # not in earlier versions
        how = f"configuration's best after {epochs} more" if goes_on else f"configuration after {epochs}"
        sentences.append(
            f"The network in best/ is that {how} on all "
            f"{its['last_step_num_drawings']:,} training and validation drawings: "
            f"{percent_text(its['last_step_test_top1'])} ({between}, Wilson). It has no validation accuracy."
        )
    if "chance_of_best" in its:
        sentences.append(
            f"The chance that it is truly the best of the {its['num_finalists']} finalists on these validation "
            f"drawings is {percent_text(its['chance_of_best'], 0)}."
        )
    if "search_num_trainings" in its:
        num_retrainings = its.get("retraining_num_trainings")
        then = "." if num_retrainings is None else f", then {count_text(num_retrainings, 'retraining')}."
        sentences.append(
            f"It cost {duration_text(its['train_seconds'])} of training on all workers together: "
            f"{its['search_num_trainings']} trials with {its['search_num_epochs']} epochs{then}"
        )
    return sentences


def name_configuration(chosen: Finalist) -> str:
    """The name by which a reader knows it."""
    if chosen.is_baseline:
        return "the paper's configuration"
    trial = f"trial {chosen.number}"
    return f"today's recipe ({trial})" if chosen.is_recipe else f"the configuration of {trial}"


def name_evidence(chosen: Finalist) -> str:
    """The networks that a result is of."""
    name = name_configuration(chosen)
    if chosen.is_of_search:
        return f"This is the one network that the search itself trained with {name}"
    num_seeds = len(chosen.retrainings)
    return f"This is one seed of {name}" if num_seeds == 1 else f"These are means over {num_seeds} seeds of {name}"


def has_lost(its: Row) -> bool:
    """Whether what was known before did better on the test split: then nothing that was chosen is the best."""
    return any(its.get(f"gain_over_{name}", 0.0) < 0 for name in KNOWN)


def state_gain(its: Row) -> str:
    """The second sentence: what is gained over what was known before the search, and whether that is more than chance.

    Chance: half the width of the interval of one network's result.
    """
    own = its["num_trials_of_network" if "num_trials_of_network" in its else "num_trials"]
    chosen = "was chosen, on validation, among" if has_lost(its) else "is the best of"
    chance = (its["test_top1_wilson_high"] - its["test_top1_wilson_low"]) / 2
    gains = []
    for name, known in KNOWN.items():
        if (gain := its.get(f"gain_over_{name}")) is None:
            continue
        top1 = percent_text(its[f"{name}_test_top1"])
        than = f"{100 * abs(gain):.1f} points {'more' if gain >= 0 else 'fewer'} than {known} ({top1})"
        gains.append(than + ", a difference that may be chance" * (abs(gain) <= chance))
    found = f"It {chosen} {count_text(own, 'way')} of training it that were tried"
    return f"{found}: {', and '.join(gains)}." if gains else f"{found}."


def state_networks(run: RunData) -> list[str]:
    """How the networks of a search over several compare; nothing where there is one."""
    rows = tabulate_networks(run)
    if not rows:
        return []
    ends = [f"{row['network']} {percent_text(row['val_top1'])}" for row in rows if row.get("val_top1") is not None]
    shares = [f"{row['network']} {percent_text(row['share'], 0)}" for row in rows]
    return [
        f"{run.model} is the best of {len(rows)} networks. The best of each on fresh seeds, on validation: "
        f"{', '.join(ends)}. Of the search's training they had: {', '.join(shares)}."
    ]


def interval_over_seeds(its: Row) -> str:
    """The interval of the first guess over seeds, or nothing for one seed."""
    return interval_text(its.get("test_top1_low"), its.get("test_top1_high"))


def state_split(run: RunData) -> str:
    """Where the splits come from, their sizes, and what copies there are."""
    its, origin = numbers_of(run), run.facts.data.split_origin or run.settings.protocol
    sentence = (
        f"The split ({origin}): {its['num_train']:,} drawings to train, {its['num_validation']:,} to choose, "
        f"{its['num_test']:,} to test."
    )
    if its.get("num_copies"):
        sentence += (
            f" {count_text(its['num_copies'], 'drawing')} with the same content as another one, "
            f"{its['num_copies_across']:,} of them in another split than it."
        )
    return sentence


def state_progress(run: RunData) -> list[str]:
    """The progress of a run without a result on the test split yet."""
    its = numbers_of(run)
    state = "The search is running" if run.is_running else "The search is unfinished"
    sentences = [f"{state}: {its['num_ended']} of {its['num_samples']} trials have ended, no test result yet."]
    if run.ranked:
        sentences.append(
            f"Best so far on validation: trial {run.ranked[0].number} with "
            f"{percent_text(its['best_val_top1_in_search'])} after {its['best_epochs_in_search']} epochs."
        )
    elif run.trials:
        errors = sorted({trial.error for trial in run.trials if trial.error})
        sentences.append("No trial has trained an epoch yet" + (f": {'; '.join(errors[:3])}." if errors else "."))
    if not run.is_running:
        sentences.append(f"Go on with: {command_text('search', '--resume', run.run.path)}")
    return sentences


def warn(run: RunData) -> list[str]:
    """Reasons to read the result with care."""
    data, settings, its = run.facts.data, run.settings, numbers_of(run)
    warnings = []
    if data.synthetic:
        warnings.append(
            "The drawings are synthetic, made by a program: nothing here says how well people's drawings are "
            "recognised."
        )
    if not run.weights.pretrained:
        warnings.append(f"{run.weights.description}.")
    if data.leaky_split and not data.split_warnings:  # of an earlier version
        warnings.append(
            "Drawings of the same photo are in training and test (--split-by file): the result is too good. "
            "--split-by photo is honest."
        )
    if data.class_ratio > MAX_EVEN_RATIO and data.largest_class and data.smallest_class:
        warnings.append(
            f"Classes differ in size: {data.largest_class.name} has {data.largest_class.num_drawings:,} drawings, "
            f"{data.smallest_class.name} {data.smallest_class.num_drawings:,}. A network can reach a high top-1 by the "
            "large classes alone: read balanced accuracy and macro F1 beside it."
        )
    if data.num_near_copies_across:
        warnings.append(
            f"{data.num_near_copies_across:,} of {data.num_near_copies or 0:,} near copies lie in another "
            "split than the drawing that they look like (listed below): the result may be too good."
        )
    warnings += [f"{warning[0].upper()}{warning[1:]}." for warning in data.split_warnings]
    if its["num_test"] < SMALL_TEST:
        warnings.append(
            f"The test split has only {its['num_test']:,} drawings: chance alone moves the result by up to "
            f"{100 * its['chance_of_drawings']:.1f} points either way."
        )
    if run.chosen is not None and run.chosen.is_of_search:
        warnings.append(
            "No retraining fitted into --total-time: the network is the search's own, chosen among many by its "
            "validation value, which is therefore too high. Its test value is not."
        )
    elif settings.retraining_seeds < 2 or (run.chosen is not None and its.get("num_seeds", 2) < 2):
        warnings.append("One seed per finalist: the variance between trainings is not known.")
    if its["num_compared"] > 1 and its.get("selection_bias", 0.0) > SELECTION_MARGIN:
        warnings.append(
            f"Selection bias: trial {its['selected_trial']}, number {its['selected_place']} of {its['num_compared']}, "
            f"looked {100 * its['selection_bias']:.1f} points better in the search than on fresh seeds after the same "
            "epoch."
        )
    if its["num_failed"]:
        bad = {trial.status.replace("_", " ") for trial in run.trials}
        names = ", ".join(sorted(bad & {"failed", "out of memory", "diverged"}))
        warnings.append(
            f"{its['num_failed']} of {its['num_trials']} trials ended badly ({names}); see the leaderboard."
        )
    if its["num_skipped"]:
        warnings.append(f"{its['num_skipped']} bad image files were left out (listed in search.json).")
    if run.data is None:
        warnings.append("The decoded drawings are not on this machine, so figures with drawings are missing.")
    return warnings
