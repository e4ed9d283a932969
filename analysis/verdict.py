"""What a reader should know first: the result in a sentence, what it cost, and why to doubt it."""

from typing import Any

from tune_sketch.analysis.run_data import RunData, interval_text, percent_text
from tune_sketch.analysis.tables.finalists import chances_of_finalists, tabulate_optimism
from tune_sketch.analysis.tables.run_tables import tabulate_costs
from tune_sketch.callbacks.progress import duration_text
from tune_sketch.statistics.intervals import wilson_interval

Rows = list[dict[str, Any]]
SMALL_TEST = 1000
SELECTION_MARGIN = 0.02


def tabulate_verdict(run: RunData) -> Rows:
    """Every number of the verdict and its warnings by name, and the file that it comes from."""
    data, mean, chosen = run.search["data"], run.mean_of, run.chosen
    rows: Rows = []

    def note(name: str, value: Any, source: str) -> None:
        if value is not None:
            rows.append({"name": name, "value": value, "source": source})

    for name in ("num_test", "num_classes", "num_skipped"):
        note(name, data[name], "search.json")
    note("chance_of_drawings", half_width(wilson_interval(0.5, data["num_test"])), "search.json: Wilson, num_test")
    note("num_samples", run.settings.num_samples, "search.json")
    note("num_trials", len(run.trials), "trials.csv")
    note("num_compared", len(run.ranked), "trials.csv")
    note("num_ended", sum(not record.is_unfinished for record in run.trials), "trials.csv")
    bad = [record for record in run.trials if record.status in ("failed", "out_of_memory", "diverged")]
    note("num_failed", len(bad), "trials.csv")
    if run.ranked:
        note("best_val_top1_in_search", run.ranked[0].best_epoch["val_top1"], "epochs.csv")
        note("best_epochs_in_search", run.ranked[0].best_epoch["epoch"], "epochs.csv")
    costs = {row["part"]: row for row in tabulate_costs(run)}
    if costs:
        note("train_seconds", sum(row["worker_seconds"] for row in costs.values()), "costs.csv")
        for part, name in (("search", "search"), ("retraining of finalists", "retraining")):
            for value in ("num_trainings", "num_epochs") if part in costs else ():
                note(f"{name}_{value}", costs[part][value], "costs.csv")
    top1 = mean(chosen, "test_top1")
    if chosen is None or top1 is None:
        return rows
    note("num_seeds", len(run.confirm_seeds(chosen)), "confirm.csv")
    for metric in ("test_top1", "test_top5", "val_top1"):
        note(metric, mean(chosen, metric), "confirm.csv: mean of the chosen finalist")
    for end in ("low", "high"):
        note(f"test_top1_{end}", mean(chosen, "test_top1", f"interval_{end}"), "confirm.csv: t over seeds")
    wilson = wilson_interval(min(1.0, max(0.0, top1)), data["num_test"])
    for end, bound in zip(("low", "high"), wilson, strict=True):
        note(f"test_top1_wilson_{end}", bound, "Wilson, from test_top1 and num_test")
    study_top1 = mean(0, "test_top1")
    if chosen != 0 and study_top1 is not None:
        note("study_test_top1", study_top1, "confirm.csv: mean of trial 0")
        note("gain_over_study", top1 - study_top1, "test_top1 - study_test_top1")
    chances = chances_of_finalists(run)
    if len(run.finalists) > 1 and chances:
        note("num_finalists", len(run.finalists), "confirm.csv")
        note("chance_best", chances[chosen], "finalists.csv")
    lucky = next(iter(tabulate_optimism(run)), None)  # the search's best of those that were retrained
    if lucky is not None:
        for name, key in (("lucky_trial", "trial"), ("lucky_place", "place_in_search"), ("optimism", "optimism")):
            note(name, lucky[key], "optimism.csv")
    return rows


def half_width(interval: tuple[float, float]) -> float:
    return (interval[1] - interval[0]) / 2


def numbers_of(run: RunData) -> dict[str, Any]:
    """{name: number} of the verdict."""
    return {row["name"]: row["value"] for row in tabulate_verdict(run)}


def state_result(run: RunData) -> list[str]:
    """The verdict on one run in a few sentences, whatever state it is in."""
    its = numbers_of(run)
    if "test_top1" not in its:
        return state_progress(run)
    which = "the study's configuration" if run.chosen == 0 else f"the configuration of trial {run.chosen}"
    sentences = [
        f"{run.settings.model} with {which} recognises {percent_text(its['test_top1'])} % of {its['num_test']:,} test "
        f"drawings in {its['num_classes']} classes at the first guess and {percent_text(its['test_top5'])} % within "
        f"five (mean over {its['num_seeds']} seed{'s' * (its['num_seeds'] != 1)})."
    ]
    if "test_top1_low" in its:
        between = interval_text(its["test_top1_low"], its["test_top1_high"])
        sentences.append(f"95 % interval of the first guess over seeds: {between} % (Student's t).")
    wilson = interval_text(its["test_top1_wilson_low"], its["test_top1_wilson_high"])
    sentences.append(f"One network on so many drawings: {wilson} % (Wilson).")
    if "chance_best" in its:
        sentences.append(
            f"The chance that it is truly the best of the {its['num_finalists']} finalists on these validation "
            f"drawings is {percent_text(its['chance_best'], 0)} %."
        )
    if "gain_over_study" in its:
        sentences.append(
            f"The study's configuration, retrained alike, reaches {percent_text(its['study_test_top1'])} %: "
            f"a difference of {100 * its['gain_over_study']:+.1f} points."
        )
    if "search_num_trainings" in its:
        sentences.append(
            f"It cost {duration_text(its['train_seconds'])} of training on all workers together: "
            f"{its['search_num_trainings']} trials with {its['search_num_epochs']} epochs"
            + (f", then {its['retraining_num_trainings']} retrainings." if "retraining_num_trainings" in its else ".")
        )
    return sentences


def state_progress(run: RunData) -> list[str]:
    """What can be said before there is a result on the test split."""
    its = numbers_of(run)
    state = "The search is running" if run.is_running else "The search has not been brought to its end"
    sentences = [f"{state}: {its['num_ended']} of {its['num_samples']} trials have ended, no test result yet."]
    if run.ranked:
        sentences.append(
            f"Best so far on validation: trial {run.ranked[0].number} with "
            f"{percent_text(its['best_val_top1_in_search'])} % after {its['best_epochs_in_search']} epochs."
        )
    elif run.trials:
        errors = sorted({record.error for record in run.trials if record.error})
        sentences.append("No trial has trained an epoch yet" + (f": {'; '.join(errors[:3])}." if errors else "."))
    if not run.is_running:
        sentences.append(f"Go on with: python -m tune_sketch.search --resume {run.run.path}")
    return sentences


def warn(run: RunData) -> list[str]:
    """Reasons to read the result with care."""
    data, settings, its = run.search["data"], run.settings, numbers_of(run)
    warnings = []
    if data["stand_in"]:
        warnings.append(
            "The drawings were made by a program: they stand in for real data, and nothing here says how well people's "
            "drawings are recognised."
        )
    if not run.search["weights"]["pretrained"]:
        warnings.append(f"{run.search['weights']['description']}.")
    if data.get("leaky_split"):
        warnings.append(
            "Drawings of the same photo are in training and test (--split-by file): the result is too good. "
            "--split-by photo is honest."
        )
    if its["num_test"] < SMALL_TEST:
        warnings.append(
            f"The test split has only {its['num_test']:,} drawings: chance alone moves the result by up to "
            f"{100 * its['chance_of_drawings']:.1f} points either way."
        )
    if settings.confirm_seeds < 2:
        warnings.append("One seed per finalist: how much a result varies from training to training is not known.")
    if its["num_compared"] > 1 and its.get("optimism", 0.0) > SELECTION_MARGIN:
        warnings.append(
            f"Selection noise: trial {its['lucky_trial']}, number {its['lucky_place']} of {its['num_compared']}, "
            f"looked {100 * its['optimism']:.1f} points better in the search than on fresh seeds after the same epoch."
        )
    if its["num_failed"]:
        bad = {record.status.replace("_", " ") for record in run.trials}
        names = ", ".join(sorted(bad & {"failed", "out of memory", "diverged"}))
        warnings.append(
            f"{its['num_failed']} of {its['num_trials']} trials ended badly ({names}); see the leaderboard."
        )
    if its["num_skipped"]:
        warnings.append(f"{its['num_skipped']} bad image files were left out (listed in search.json).")
    if run.data is None:
        warnings.append("The decoded drawings are not on this machine, so figures with drawings are missing.")
    return warnings
