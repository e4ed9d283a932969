"""Frozen layers computed once: the same training, resumed, shared, evicted, and given up where it has to be."""

import errno
import os
import stat
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.frozen_prefix_tables import judge, simulate_search
from tests.support.jobs import decode_doodles, make_job
from tests.support.small_training import AUGMENTED, CONFIG, assert_same_weights, build, drawings, train, without_times
from tune_sketch.trainables.batches import TrainingSplits
from tune_sketch.trainables.job import start
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.speed import activation_store
from tune_sketch.trainables.speed.activation_store import open_entry, reserved_bytes
from tune_sketch.trainables.speed.feature_cache import CachePolicy, FeatureCache
from tune_sketch.trainables.training import fit

FROZEN = {"freeze": "conv2", "epochs": 6}


def splits(num_images: int = 32) -> TrainingSplits:
    return TrainingSplits(drawings(num_images), drawings(12), 4, True, "boxes")


def policy(root: Path, num_views: int = 2, **options: Any) -> CachePolicy:
    return CachePolicy(num_views, seed=3, root=root, **({"least_speedup": 0.0} | options))


def test_without_augmentation_it_is_ordinary_training(tmp_path: Path) -> None:
    config = CONFIG | FROZEN | {"dropout": 0.3}
    ordinary = train(build(config=config), splits(), config)
    reusing = train(build(config=config), splits(), config, cache_policy=policy(tmp_path, 8))
    assert [metrics["frozen_views"] for metrics in reusing] == [0, 1, 1, 1, 1, 1]  # all views are one
    for ours, expected in zip(reusing, ordinary, strict=True):
        for name in ("train_loss", "val_loss"):
            assert ours[name] == pytest.approx(
                expected[name], rel=0.05
            )  # half precision, and six epochs of Adam after it
    assert len(list(tmp_path.rglob("view_*.npy"))) == 1


def test_the_store_is_read_in_the_order_of_balanced_sampling(tmp_path: Path) -> None:
    uneven = TrainingSplits(drawings(32).take(np.r_[0:32:4, 1]), drawings(12), 4, True, "boxes")
    config = CONFIG | FROZEN | {"balanced_sampling": True, "epochs": 4}
    ordinary = train(build(config=config), uneven, config)
    reusing = train(build(config=config), uneven, config, cache_policy=policy(tmp_path))
    assert [metrics["frozen_views"] for metrics in reusing] == [0, 1, 1, 1]
    for ours, expected in zip(reusing, ordinary, strict=True):
        assert ours["train_loss"] == pytest.approx(expected["train_loss"], rel=0.05)


def test_in_bfloat16_the_store_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("devices", "feature_cache"):
        monkeypatch.setattr(f"tune_sketch.trainables.speed.{module}.uses_bfloat16", lambda model, device: True)
    config = CONFIG | FROZEN | {"batch_size": 32, "epochs": 3}
    ordinary = train(build(config=config), splits(), config)
    reusing = train(build(config=config), splits(), config, cache_policy=policy(tmp_path))
    assert reusing[-1]["frozen_views"] == 1
    for name in ("train_loss", "val_loss"):
        assert reusing[-1][name] == pytest.approx(ordinary[-1][name], rel=1e-5)


def test_views_come_back_and_frozen_layers_run_once_for_each(tmp_path: Path) -> None:
    config = AUGMENTED | FROZEN | {"epochs": 8}
    model = build(config=config)
    passes = []
    model.conv1.register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    metrics = train(model, splits(), config, cache_policy=policy(tmp_path, 3))
    assert [m["frozen_views"] for m in metrics] == [0] + [3] * 7
    ordinary, shape, filling = 32 + 12, 1, 3 * 32 + 12
    assert sum(passes) == ordinary + shape + filling
    arrays = [np.load(file) for file in sorted(tmp_path.rglob("view_*.npy"))]
    assert [array.shape for array in arrays] == [(32, 8, 8, 32)] * 3
    assert not np.array_equal(arrays[0], arrays[1])


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("stop_after", [1, 2, 5])
def test_resume_is_bit_for_bit(tmp_path: Path, stop_after: int, lost: bool) -> None:
    config = AUGMENTED | FROZEN | {"dropout": 0.3}
    whole = list(fit(build(config=config), splits(), config, seed=5, cache_policy=policy(tmp_path / "a")))
    epochs = fit(build(config=config), splits(), config, seed=5, cache_policy=policy(tmp_path / "b"))
    for _ in range(stop_after):
        _, state = next(epochs)
    epochs.close()
    torch.save(state, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    # On another machine the store has to be filled again; the number of views is the state's.
    again = policy(tmp_path / ("c" if lost else "b"), 7)
    resumed = list(fit(build(config=config), splits(), config, seed=5, cache_policy=again, state=state))
    for (metrics, _), (expected, _) in zip(resumed, whole[stop_after:], strict=True):
        assert without_times(metrics) == without_times(expected)
        assert metrics["frozen_views"] == 2
    assert_same_weights(resumed[-1][1]["model"], whole[-1][1]["model"])


def test_a_training_begun_from_drawings_goes_on_so(tmp_path: Path) -> None:
    config = AUGMENTED | FROZEN
    _, state = next(fit(build(config=config), splits(), config, seed=5))
    resumed = fit(build(config=config), splits(), config, seed=5, state=state, cache_policy=policy(tmp_path))
    assert [metrics["frozen_views"] for metrics, _ in resumed] == [0] * 5


def test_by_default_augmented_views_do_not_come_back(tmp_path: Path) -> None:
    for config, expected in ((AUGMENTED | FROZEN, 0), (CONFIG | FROZEN, 1)):
        metrics = train(build(config=config), splits(), config, cache_policy=policy(tmp_path, 0))
        assert metrics[-1]["frozen_views"] == expected


@pytest.mark.parametrize("change", [{"freeze": "none"}, {"epochs": 3}])
def test_what_would_not_be_used_twice_is_not_kept(tmp_path: Path, change: dict[str, Any]) -> None:
    config = AUGMENTED | FROZEN | change
    assert {
        m["frozen_views"] for m in train(build(config=config), splits(), config, cache_policy=policy(tmp_path))
    } == {0}
    assert list(tmp_path.rglob("*.npy")) == []


def test_a_store_that_does_not_pay_is_given_up_after_the_second_epoch(tmp_path: Path) -> None:
    config = AUGMENTED | FROZEN
    never = policy(tmp_path, least_speedup=1e9)
    result = list(fit(build(config=config), splits(), config, seed=5, cache_policy=never))
    assert [metrics["frozen_views"] for metrics, _ in result] == [0, 2, 0, 0, 0, 0]
    assert [state["frozen"] is None for _, state in result] == [False, True, True, True, True, True]
    assert list(tmp_path.rglob("view_*.npy")) == []


def test_a_full_disk_ends_the_reuse_and_not_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = AUGMENTED | FROZEN
    written = activation_store.write_array

    def write(file: Path, *arguments: Any) -> None:
        written(file, *arguments)
        if file.name == "view_01.part":
            raise OSError(errno.ENOSPC, "no space left, says the test")

    monkeypatch.setattr(activation_store, "write_array", write)
    with pytest.warns(UserWarning, match="not kept in .*no space left"):
        result = train(build(config=config), splits(), config, cache_policy=policy(tmp_path))
    assert [metrics["frozen_views"] for metrics in result] == [0, 2, 0, 0, 0, 0]
    assert list(tmp_path.rglob("*.part")) == []


def test_values_too_large_for_half_precision_are_not_kept(tmp_path: Path) -> None:
    config = AUGMENTED | FROZEN
    model = build(config=config)
    with torch.no_grad():
        model.conv1.weight *= 1e5
    with pytest.warns(UserWarning, match="too large for half precision"):
        result = train(model, splits(), config | {"learning_rate": 1e-9}, cache_policy=policy(tmp_path))
    assert result[-1]["frozen_views"] == 0
    assert list(tmp_path.rglob("view_*")) == [next(tmp_path.rglob("view_00.lock"))]


def keys(tmp_path: Path, model: nn.Module, data: TrainingSplits, config: dict[str, Any], **options: Any) -> set[str]:
    choices: dict[str, Any] = {"policy": policy(tmp_path), "pretrained": False} | options
    cache = FeatureCache(model, data, config, device=torch.device("cpu"), **choices)
    assert cache.open()
    assert cache.train is not None
    assert cache.validation is not None
    return {cache.train.folder.name, cache.validation.folder.name}


def test_the_key_holds_all_that_changes_activations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = AUGMENTED | FROZEN
    model, data = build(config=config), splits()
    first = keys(tmp_path, model, data, config)
    assert len(first) == 2
    # Another head, dropout, batch size and learning rate leave the frozen layers as they are.
    other = build_model("baseline", 4, dropout=0.4, freeze="conv2")
    other.load_state_dict(model.state_dict() | {"head.bias": torch.ones(4)})
    assert keys(tmp_path, other, data, config | {"batch_size": 3, "learning_rate": 1.0}) == first
    # Without the seed and the strengths, validation alone is shared.
    assert len(first & keys(tmp_path, model, data, config, policy=replace(policy(tmp_path), seed=4))) == 1
    assert len(first & keys(tmp_path, model, data, config | {"zoom": 0.21})) == 1
    plain = keys(tmp_path, model, data, CONFIG)
    assert keys(tmp_path, model, data, CONFIG, policy=replace(policy(tmp_path), seed=4)) == plain
    rows = replace(data.train, indices=np.arange(31))
    assert len(first & keys(tmp_path, model, replace(data, train=rows), config)) == 1
    assert not first & keys(tmp_path, model, replace(data, fingerprint="circles"), config)
    assert not first & keys(tmp_path, model, replace(data, invert=False), config)
    assert not first & keys(tmp_path, model, data, config, pretrained=True)
    assert not first & keys(tmp_path, build(config=config | {"freeze": "conv1"}), data, config)
    with torch.no_grad():
        model.conv2.bias[0] += 1e-3
    assert not first & keys(tmp_path, model, data, config)
    monkeypatch.setattr("tune_sketch.trainables.speed.feature_cache.digest_code", lambda: "newer")
    assert not first & keys(tmp_path, build(config=config), data, config)


def test_a_trial_gets_the_views_of_its_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(FeatureCache, "keep_if_faster", lambda *arguments: None)  # the clock is not what is tested
    decoded = decode_doodles(tmp_path / "decoded")
    for key, seed, views_seed in (("trial-0000", 7, 0), ("trial-0001", 8, 0), ("retraining-0000-01", 9, 9)):
        changes = {"key": key, "seed": seed, "frozen_views": 2, "views_seed": views_seed}
        epochs, _ = start(make_job(tmp_path, decoded, AUGMENTED | FROZEN, **changes))
        assert [next(epochs)[0]["frozen_views"] for _ in range(2)] == [0, 2]
        epochs.close()
    store = next(tmp_path.glob(f"tune_sketch-{os.getuid()}"))
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    # New weights are each seed's own, so these three share nothing; loaded ones they would.
    assert len(list(store.glob("*/reserved"))) == 6


# the store


def ones(num_rows: int, value: float = 1.0) -> list[np.ndarray]:
    return [np.full((1, 4), value, np.float16)] * num_rows


def test_the_least_recently_opened_idle_entry_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation_store, "STORE_BYTES", 100)
    entries = {}
    for name in ("a", "b", "c"):
        entries[name] = open_entry(tmp_path, name, 30)
        time.sleep(0.01)
    assert open_entry(tmp_path, "d", 30) is None  # all three are in use
    assert not (tmp_path / "d").exists()
    del entries["a"], entries["b"]
    again = open_entry(tmp_path, "a", 30)  # now b is the oldest
    assert again is not None
    assert open_entry(tmp_path, "d", 30) is not None
    assert sorted(path.parent.name for path in tmp_path.glob("*/lock")) == ["a", "c", "d"]
    assert reserved_bytes(tmp_path / "a") == 30
    assert open_entry(tmp_path, "e", 101) is None


def test_two_that_want_one_array_compute_it_once(tmp_path: Path) -> None:
    computed, results = [], []

    def compute() -> list[np.ndarray]:
        computed.append(1)
        time.sleep(0.2)
        return ones(3)

    def want() -> None:
        entry = open_entry(tmp_path, "a", 24)
        assert entry is not None
        results.append(entry.open_array("x", (3, 4), compute).sum())

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(computed), results) == (1, [12, 12, 12])


def test_a_killed_builder_leaves_nothing_that_is_seen(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
import numpy as np
from tune_sketch.trainables.speed.activation_store import open_entry

def compute():
    yield np.ones((1, 4), np.float16)
    os.kill(os.getpid(), signal.SIGKILL)

open_entry(Path({str(tmp_path)!r}), "a", 24).open_array("x", (3, 4), compute)
"""
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, env=os.environ | {"PYTHONPATH": str(root)})
    assert result.returncode == -9
    assert (tmp_path / "a" / "x.part").exists()
    assert not (tmp_path / "a" / "x.npy").exists()
    other = open_entry(tmp_path, "b", 24)  # neither lock outlives the process, and the next one sweeps
    assert other is not None
    assert [file.name for file in tmp_path.glob("a/x.*")] == ["x.lock"]
    entry = open_entry(tmp_path, "a", 24)
    assert entry is not None
    assert entry.open_array("x", (3, 4), lambda: ones(3, 2.0)).sum() == 24
    assert not (tmp_path / "a" / "x.part").exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00{", b"[" * 1000])
def test_damaged_activations_are_an_error_of_the_disk_and_are_computed_again(tmp_path: Path, content: bytes) -> None:
    """No trial fails of them: a training goes on without the store."""
    entry = open_entry(tmp_path, "a", 24)
    assert entry is not None
    (tmp_path / "a" / "x.npy").write_bytes(content)
    with pytest.raises(OSError, match=r"x\.npy was damaged"):
        entry.open_array("x", (3, 4), lambda: ones(3))
    assert entry.open_array("x", (3, 4), lambda: ones(3)).sum() == 12


def test_a_removed_entry_can_be_read_on_by_who_has_it_mapped(tmp_path: Path) -> None:
    entry = open_entry(tmp_path, "a", 24)
    assert entry is not None
    array = entry.open_array("x", (3, 4), lambda: ones(3))
    entry.discard()
    assert not (tmp_path / "a").exists()
    assert array.sum() == 12
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = AUGMENTED | FROZEN
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = train(build(config=config), splits(), config, cache_policy=policy(tmp_path / "file"))
    assert result[-1]["frozen_views"] == 0
    assert any("not kept" in str(warning.message) for warning in caught)


# the benchmark's tables


def speed_row(freeze: str, reusing_seconds: float) -> dict[str, Any]:
    row = {"model": "m", "freeze": freeze, "ordinary_seconds": 1.0, "filling_seconds": 1.0 + reusing_seconds, "n": 3}
    ratio = 1 / reusing_seconds
    return row | {"reusing_seconds": reusing_seconds, "speedup": ratio, "lowest": ratio, "highest": ratio}


def test_a_search_gains_what_its_arithmetic_says() -> None:
    nothing = [speed_row("a", 1.0), speed_row("b", 0.99)]
    gained = simulate_search(nothing, 4, num_searches=5)
    assert 0.9 < gained[0] <= gained[1] < 1.0  # the second epoch, which fills a store that does not pay
    half = simulate_search([speed_row("a", 0.5), speed_row("b", 0.5)], 0, num_searches=50)
    assert 1.0 < half[0] < half[1] < 1 / (1 / 3 + 2 / 3 * 0.5) + 0.1  # a third of trials freeze nothing


def test_the_benchmark_fails_under_its_targets() -> None:
    good = [speed_row("a", 0.5), speed_row("head_only", 0.1)]
    lost = {"model": "m", "freeze": "a", "num_views": 8, "difference": -0.05, "standard_error": 0.01, "n": 5}
    assert judge(good, [])[1]
    assert judge(good, [lost | {"standard_error": 0.03}])[1]  # may be chance
    assert not judge(good, [lost])[1]
    assert not judge([speed_row("a", 0.9), speed_row("head_only", 0.1)], [])[1]
    assert not judge([speed_row("a", 0.5), speed_row("head_only", 0.5)], [])[1]
