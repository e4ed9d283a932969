"""The comparison of real searches over several networks: pairs, choices, and what is still missing."""

import pytest

from benchmarks import networks_real
from benchmarks.networks_real import NETWORKS, ONE_EACH, TOGETHER, Found, measure, summarise


def row(way: str, repetition: int, test_top1: float, network: str = "baseline") -> dict[str, object]:
    """A row as the CSV gives it back."""
    values = {"way": way, "repetition": repetition, "test_top1": test_top1, "val_top1_in_search": 0.3, "num_trials": 9}
    return {name: str(value) for name, value in values.items()} | {"network": network}


def test_only_repetitions_of_both_ways_are_compared() -> None:
    rows = [row(ONE_EACH, 0, 0.20), row(TOGETHER, 1, 0.25, "squeezenet1_1"), row(TOGETHER, 0, 0.23)]
    rows += [row(ONE_EACH, 1, 0.26), row(ONE_EACH, 2, 0.9)]
    lines, gains = summarise(rows)
    assert gains == pytest.approx([3.0, -1.0])
    assert lines[2] == "| one search | 24.0 (1.4) | 23.0, 25.0 | 30.0 (0.0) | baseline 1, squeezenet1_1 1 | 9, 9 |"
    assert lines[3].startswith("| one each | 23.0 (4.2) | 20.0, 26.0 |")


def test_one_of_each_has_a_third_of_the_time_and_the_best_by_validation_is_trained_anew(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def search(models, repetition, choices, budget, folder) -> Found:
        asked.append((models, budget))
        value = 0.1 * len(asked) if len(asked) < 3 else 0.15
        return Found(
            *(type("Trial", (), {"number": len(asked), "epochs": [1, 2]}), models[0], value),
            *([len(asked)] * 2, 5, networks_real.Counter({models[0]: 7.0})),
        )

    monkeypatch.setattr(networks_real, "search", search)
    monkeypatch.setattr(networks_real, "retrain", lambda job: (0.3, 0.1 * job))
    found = measure(ONE_EACH, 0, {}, 90.0, tmp_path)
    assert asked == [((network,), 30.0) for network in NETWORKS]
    assert (found["network"], found["trial"], found["test_top1"]) == (NETWORKS[1], 2, pytest.approx(0.2))
    assert (found["num_trials"], found["worker_seconds"]) == (15, 21.0)
    asked.clear()
    measure(TOGETHER, 0, {}, 90.0, tmp_path)
    assert asked == [(NETWORKS, 90.0)]
