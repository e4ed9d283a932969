"""The plan: its offers where no data were given, how many trials it names, and what it expects them to cost."""

import shlex

import pytest

from tests.support.drawings import draw
from tune_sketch.config.flags import build_parser, given_choices, make_settings
from tune_sketch.config.plan import (
    CLASSES_OF_PEOPLE,
    expected_epochs,
    expected_hours_lines,
    facts_of,
    flags_to_extend,
    plan_lines,
    prepare_inputs,
)
from tune_sketch.config.settings import Settings
from tune_sketch.data.doodles import CATEGORIES
from tune_sketch.data.quickdraw_classes import QUICKDRAW_CLASSES
from tune_sketch.formatting import duration_text


def offers(settings: Settings) -> list[str]:
    return [line for line in plan_lines(settings, prepare_inputs(settings)) if "--download" in line]


@pytest.mark.parametrize("model", ["baseline", "resnet50"])
def test_without_data_it_offers_drawings_by_people_of_the_same_things(model):
    """The flags can be copied: they are accepted, and name classes that Quick, Draw! has."""
    (line,) = offers(Settings(model, per_class=10))
    flags = shlex.split(line[line.index("--data") :])
    settings = make_settings(model, given_choices(build_parser().parse_args(["--model", model, *flags])))
    assert (settings.data, settings.download) == ("quickdraw", True)
    assert 2 <= len(settings.classes) <= CLASSES_OF_PEOPLE
    assert set(settings.classes) <= set(QUICKDRAW_CLASSES) & set(CATEGORIES)
    if model == "resnet50":
        assert settings.classes == ("bicycle", "envelope", "fish", "ladder", "sun", "umbrella")


def test_with_data_it_offers_nothing(tmp_path):
    for number in range(20):
        (tmp_path / ("bus", "car")[number % 2]).mkdir(exist_ok=True)
        draw(number).save(tmp_path / ("bus", "car")[number % 2] / f"{number}.png")
    assert offers(Settings("baseline", data=str(tmp_path), image_px=16, protocol="small")) == []


def lines_of(**choices):
    settings = Settings("baseline", max_epochs=9, grace_epochs=1, classes=3, per_class=10, **choices)
    inputs = prepare_inputs(settings)
    return plan_lines(settings, inputs), facts_of(settings, inputs)


def test_with_a_budget_the_number_of_trials_is_only_a_limit():
    lines, _ = lines_of(num_samples=20)
    assert "trials    20, compared at epochs 1, 3, 9; one in 3 goes on" in lines
    assert any(line.startswith("epochs    at most 180, about ") for line in lines)
    lines, _ = lines_of(time_budget_seconds=60.0)
    assert "trials    at most 1000, compared at epochs 1, 3, 9; one in 3 goes on" in lines
    assert any(line.startswith("epochs    at most 9 of a trial, about ") for line in lines)


@pytest.mark.parametrize(
    ("choices", "worker_minutes"),
    [
        ({"num_samples": 40, "time_budget_seconds": 6000.0}, None),  # over before
        ({"time_budget_seconds": 60.0}, 2 + 1.5),
        ({"gpu_hours": 0.1}, 12 + 1.5),  # half a GPU each
        ({"gpu_hours": 0.1, "time_budget_seconds": 60.0}, 2 + 1.5),
        ({"total_time_seconds": 180.0}, 6),
    ],
)
def test_the_expected_cost_is_no_more_than_the_budget(choices, worker_minutes):
    """5 s for each epoch; two first configurations are retrained once, 9 epochs each."""
    _, facts = lines_of(finalists=0, retraining_seeds=1, last_step=False, strategy="random", **choices)
    assert facts.num_retrainings * 9 * 5 == 90
    *_, last = expected_hours_lines(facts, {"baseline": 5.0}, 2, 0.5)
    seconds = 60 * worker_minutes if worker_minutes else 5 * 40 * expected_epochs(facts.settings) + 90
    assert last == f"expected  {duration_text(seconds)} of worker time, {duration_text(seconds / 2)} with 2 workers"


def test_what_a_finished_search_is_extended_with():
    settings = Settings("baseline", num_samples=12)
    assert flags_to_extend(settings, 12) == "--num-samples N"
    assert flags_to_extend(settings, 9) == "--num-samples N", "a gain too small ended it"
    assert flags_to_extend(Settings("baseline", strategy="one-factor"), 20) == "--passes N"
    within = Settings("baseline", time_budget_seconds=60.0, gpu_hours=2.0)
    assert flags_to_extend(within, 9) == "--time-budget T --gpu-hours N"
    within = Settings("baseline", num_samples=9, total_time_seconds=60.0)
    assert flags_to_extend(within, 9) == "--num-samples N --total-time T"
