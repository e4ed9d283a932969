"""What a reader should know first: the result in a sentence, what it cost, and why to doubt it."""

from analysis.finalist_tables import chances_of_finalists, interval_text, tabulate_optimism
from analysis.intervals import wilson_interval
from analysis.run_data import RunData, percent_text
from analysis.tables import tabulate_costs
from tune_sketch.progress import duration_text

SMALL_TEST = 1000
SELECTION_MARGIN = 0.02


def state_result(run: RunData) -> list[str]:
    """The verdict on one run in a few sentences, whatever state it is in."""
    settings, num_test = run.settings, run.search["data"]["num_test"]
    if run.chosen is None or not run.finalists:
        return state_progress(run)
    mean, seeds = run.confirm_row(run.chosen, "mean"), run.confirm_seeds(run.chosen)
    if not mean.get("test_top1"):
        return state_progress(run)
    which = "the study's configuration" if run.chosen == 0 else f"the configuration of trial {run.chosen}"
    low, high = run.confirm_row(run.chosen, "interval_low"), run.confirm_row(run.chosen, "interval_high")
    sentences = [
        f"{settings.model} with {which} recognises {percent_text(mean['test_top1'])} % of {num_test:,} test drawings "
        f"in {len(run.class_names)} classes at the first guess and {percent_text(mean['test_top5'])} % within five "
        f"(mean over {len(seeds)} seed{'s' * (len(seeds) != 1)})."
    ]
    wilson = wilson_interval(min(1.0, max(0.0, float(mean["test_top1"]))), num_test)
    if low.get("test_top1"):
        between = interval_text(low["test_top1"], high["test_top1"])
        sentences.append(f"95 % interval of the first guess over seeds: {between} % (Student's t).")
    sentences.append(f"One network on so many drawings: {interval_text(*wilson)} % (Wilson).")
    chances = chances_of_finalists(run)
    if len(run.finalists) > 1 and chances:
        sentences.append(
            f"The chance that it is truly the best of the {len(run.finalists)} finalists on these validation drawings "
            f"is {percent_text(chances[run.chosen], 0)} %."
        )
    if run.chosen != 0 and 0 in run.finalists:
        study_mean = run.confirm_row(0, "mean")
        gain = 100 * (float(mean["test_top1"]) - float(study_mean["test_top1"]))
        sentences.append(
            f"The study's configuration, retrained alike, reaches {percent_text(study_mean['test_top1'])} %: "
            f"a difference of {gain:+.1f} points."
        )
    costs = {row["part"]: row for row in tabulate_costs(run)}
    if "search" in costs:
        spent = sum(row["worker_seconds"] for row in costs.values())
        sentences.append(
            f"It cost {duration_text(spent)} of training on all workers together: {costs['search']['num_trainings']} "
            f"trials with {costs['search']['num_epochs']} epochs"
            + (
                f", then {costs['retraining of finalists']['num_trainings']} retrainings."
                if "retraining of finalists" in costs
                else "."
            )
        )
    return sentences


def state_progress(run: RunData) -> list[str]:
    """What can be said before there is a result on the test split."""
    num_ended = sum(not record.is_unfinished for record in run.trials)
    state = "The search is running" if run.is_running else "The search has not been brought to its end"
    sentences = [f"{state}: {num_ended} of {run.settings.num_samples} trials have ended, no test result yet."]
    if run.ranked:
        best = run.ranked[0]
        sentences.append(
            f"Best so far on validation: trial {best.number} with {percent_text(best.epochs[-1]['val_top1'])} % after "
            f"{len(best.epochs)} epochs."
        )
    elif run.trials:
        errors = sorted({record.error for record in run.trials if record.error})
        sentences.append("No trial has trained an epoch yet" + (f": {'; '.join(errors[:3])}." if errors else "."))
    if not run.is_running:
        sentences.append(f"Go on with: python -m tune_sketch.search --resume {run.run.path}")
    return sentences


def warn(run: RunData) -> list[str]:
    """Reasons to read the result with care."""
    data, settings = run.search["data"], run.settings
    warnings = []
    if data["stand_in"]:
        warnings.append(
            "The drawings were made by a program: they stand in for real data, and nothing here says how well people's "
            "drawings are recognised."
        )
    if not run.search["weights"]["pretrained"]:
        warnings.append(f"Trained from scratch ({run.search['weights']['description']}).")
    if data.get("leaky_split"):
        warnings.append(
            "Drawings of the same photo are in training and test (--split-by file): the result is too good. "
            "--split-by photo is honest."
        )
    if data["num_test"] < SMALL_TEST:
        half = wilson_interval(0.5, data["num_test"])
        warnings.append(
            f"The test split has only {data['num_test']:,} drawings: chance alone moves the result by up to "
            f"{50 * (half[1] - half[0]):.1f} points either way."
        )
    if settings.confirm_seeds < 2:
        warnings.append("One seed per finalist: how much a result varies from training to training is not known.")
    lucky = next(iter(tabulate_optimism(run)), None)  # the search's best of those that were retrained
    if lucky is not None and lucky["optimism"] > SELECTION_MARGIN and len(run.ranked) > 1:
        warnings.append(
            f"Selection noise: trial {lucky['trial']}, number {lucky['place_in_search']} of {len(run.ranked)}, looked "
            f"{100 * lucky['optimism']:.1f} points better in the search than on fresh seeds after the same epoch."
        )
    failed = [record for record in run.trials if record.status in ("failed", "out_of_memory", "diverged")]
    if failed:
        names = ", ".join(sorted({record.status.replace("_", " ") for record in failed}))
        warnings.append(f"{len(failed)} of {len(run.trials)} trials ended badly ({names}); see the leaderboard.")
    if data["num_skipped"]:
        warnings.append(f"{data['num_skipped']} bad image files were left out (listed in search.json).")
    if run.data is None:
        warnings.append("The decoded drawings are not on this machine, so figures with drawings are missing.")
    return warnings
