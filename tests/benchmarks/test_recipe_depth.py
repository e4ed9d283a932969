"""Frozen layers and rates by depth of the recipe: how trainings of unlike cost are compared."""

from benchmarks.recipe_depth import (
    BEFORE,
    CANDIDATE,
    PLANS,
    Job,
    configure,
    curves_of,
    gains_of,
    is_ahead,
    is_recipe,
    list_jobs,
    table,
    value_at,
)

NETWORK = "timm:efficientnet_lite0"
PLAN = PLANS[f"{NETWORK}-sketchy"]._replace(num_epochs=4)


def rows_of(what, seed, values, seconds):
    """A training whose epochs take as long as each other."""
    return [
        {"network": NETWORK, "data": "sketchy", "what": what, "seed": seed, "epoch": epoch, "val_top1": value}
        | {"train_cpu_seconds": seconds * epoch}
        for epoch, value in enumerate(values, 1)
    ]


def test_at_equal_time_the_cheaper_one_has_more_epochs():
    rows = rows_of(BEFORE, 3, [0.1, 0.2, 0.3, 0.4], seconds=2.0)
    rows += rows_of(CANDIDATE[NETWORK], 3, [0.1, 0.25, 0.3, 0.35], seconds=1.0)
    half, last, equal_time = gains_of(curves_of(rows, PLAN), CANDIDATE[NETWORK], PLAN)
    assert [round(gain, 6) for (gain,) in (half, last, equal_time)] == [5.0, -5.0, 15.0]
    before, candidate = table(rows, PLAN)[2:]
    assert before.startswith(f"| {BEFORE} | 1 | 20.0 (20.0 to 20.0) | 40.0 (40.0 to 40.0) | 2.0 |")
    assert candidate.endswith("| 1.0 | +5.0 | -5.0 | +15.0 |")


def test_trainings_that_were_not_whole_do_not_count():
    rows = rows_of(BEFORE, 3, [0.1, 0.2, 0.3, 0.4], seconds=2.0) + rows_of(BEFORE, 4, [0.1, 0.2], seconds=2.0)
    rows += rows_of(CANDIDATE[NETWORK], 4, [0.1, 0.2], seconds=1.0)
    assert {what: list(own) for what, own in curves_of(rows, PLAN).items()} == {BEFORE: [3]}
    assert len(table(rows, PLAN)) == 3  # two lines above that of the recipe of before


def test_a_value_at_a_time_is_of_the_last_epoch_that_ended():
    curve = [(2.0, 10.0), (4.0, 20.0), (6.0, 30.0)]
    assert [value_at(curve, seconds) for seconds in (1.0, 2.0, 5.9, 6.0, 99.0)] == [10.0, 10.0, 20.0, 30.0, 30.0]


def test_a_recipe_of_now_that_is_behind_is_told(monkeypatch):
    monkeypatch.setattr("benchmarks.recipe_depth.PLANS", {"one": PLAN})
    before = rows_of(BEFORE, 3, [0.1, 0.2, 0.3, 0.4], seconds=1.0)
    for values, ahead in (([0.1, 0.3, 0.3, 0.4], True), ([0.1, 0.1, 0.3, 0.4], False)):
        assert is_ahead(before + rows_of(CANDIDATE[NETWORK], 3, values, seconds=1.0)) == ahead


def test_the_candidates_are_compared_with_the_recipe_as_it_was():
    assert is_recipe(NETWORK)
    assert not is_recipe("squeezenet1_1")  # on Sketchy its candidate was not ahead
    for name, plan in PLANS.items():
        was, is_now = (configure(Job(name, 0, what)) for what in (BEFORE, CANDIDATE[plan.network]))
        assert {key for key in was if was[key] != is_now[key]} == {"freeze", "layer_rate_factor"}
        assert (was["freeze"], was["layer_rate_factor"]) == ("none", 0.1)
        assert len(set(list_jobs(name))) == len(plan.ways) * len(plan.seeds)
