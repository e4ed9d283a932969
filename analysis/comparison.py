"""The verdict on several runs: which is best, by how much on the same drawings, and why they may not be comparable."""

from collections.abc import Sequence

from tune_sketch.analysis.run_data import RunData, name_runs, runs_with_result
from tune_sketch.analysis.tables.finalists import interval_of_top1
from tune_sketch.analysis.tables.mcnemar import tabulate_mcnemar_of_runs
from tune_sketch.analysis.text import interval_text, percent_text, points_interval_text, points_text
from tune_sketch.formatting import count_text


def state_comparison(runs: Sequence[RunData]) -> list[str]:
    """The verdict on several runs in a few sentences."""
    tested, names = runs_with_result(runs), name_runs(runs)
    if not tested:
        return [f"{count_text(len(runs), 'run')}, none with a test result yet."]
    best = tested[0]
    assert best.chosen is not None
    low, high, kind = interval_of_top1(best.chosen)
    sentences = [
        f"Best of {len(runs)} runs on validation: {names[best.run.path]}. It recognises "
        f"{percent_text(best.chosen.mean('test_top1'))} of its {best.facts.data.num_test:,} test drawings at the "
        f"first guess" + (f" (95 % interval {interval_text(low, high)}, {kind})." if low is not None else ".")
    ]
    own = f"{best.model} ({best.name})"
    for row in (row for row in tabulate_mcnemar_of_runs(runs) if row["first"] == own):
        is_clear = row["gain_low"] > 0 or row["gain_high"] < 0
        sentences.append(
            f"{row['first']} against {row['second']}, network against network on the same {row['num_test']:,} test "
            f"drawings: {points_text(row['gain'])} points (95 %: "
            f"{points_interval_text(row['gain_low'], row['gain_high'])})"
            + ("." if is_clear else ", which may be chance.")
        )
    if len(tested) < len(runs):
        sentences.append(f"{len(runs) - len(tested)} of {len(runs)} runs have no test result yet.")
    return sentences


def warn_comparison(runs: Sequence[RunData]) -> list[str]:
    """Why the runs may not be comparable."""
    if len({run.facts.data.fingerprint for run in runs}) > 1:
        return ["The runs do not share one decoded data set: their results are not on the same drawings."]
    given = [(run.settings.seed, run.settings.split_by, run.settings.protocol) for run in runs]
    if len(set(given)) > 1 or len({run.facts.data.split_origin for run in runs}) > 1:
        return ["The runs do not share one split into training and test."]
    return []
