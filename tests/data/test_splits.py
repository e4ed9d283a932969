"""Splits: exact sizes, every class everywhere, no photo shared, and a file that brings them back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_sketch.data.sketch_data import SketchData, photo_of
from tune_sketch.data.splits import (
    PROTOCOLS,
    SPLIT_BY,
    SPLIT_NAMES,
    Splits,
    make_splits,
    read_splits,
    split_data,
    write_splits,
)


def label_evenly(num_classes: int, per_class: int) -> np.ndarray:
    return np.repeat(np.arange(num_classes), per_class).astype(np.int64)


def count(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.validation), len(splits.test)


def check_partition(splits: Splits, num_images: int) -> None:
    together = np.concatenate([splits.train, splits.validation, splits.test])
    assert sorted(together) == list(range(num_images))
    for name in SPLIT_NAMES:
        indices = getattr(splits, name)
        assert indices.dtype == np.int64
        assert (np.diff(indices) > 0).all()


def test_the_papers_arithmetic_is_exact():
    labels = label_evenly(125, 160)
    splits = make_splits(labels, np.arange(20_000), protocol="paper", split_by="file", seed=3)
    check_partition(splits, 20_000)
    assert count(splits) == (18_001, 999, 1_000)
    assert set(np.bincount(labels[splits.test])) == {8}
    assert sorted(np.bincount(labels[splits.validation]))[:2] == [7, 8]


@pytest.mark.parametrize(
    ("protocol", "per_class", "expected"),
    [
        ("standard", 100, (900, 50, 50)),
        ("standard", 10, (80, 10, 10)),  # 5 % of 10 is half a drawing; each class gets one all the same
        ("standard", 3, (10, 10, 10)),
        ("small", 10, (60, 20, 20)),
        ("small", 25, (150, 50, 50)),
        ("paper", 10, (80, 10, 10)),
    ],
)
def test_sizes_of_protocols(protocol, per_class, expected):
    labels = label_evenly(10, per_class)
    splits = make_splits(labels, np.arange(len(labels)), protocol=protocol, split_by="photo", seed=0)
    check_partition(splits, len(labels))
    assert count(splits) == expected
    for name in SPLIT_NAMES:
        assert (np.bincount(labels[getattr(splits, name)], minlength=10) >= 1).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_photo_is_shared_and_totals_come_out(protocol):
    rng = np.random.default_rng(0)
    sizes = rng.integers(3, 9, size=(40, 60))  # 40 classes of 60 photos with 3 to 8 drawings
    labels = np.repeat(np.arange(40), sizes.sum(axis=1))
    groups = np.repeat(np.arange(40 * 60), sizes.ravel())
    splits = make_splits(labels, groups, protocol=protocol, split_by="photo", seed=1)
    check_partition(splits, len(labels))
    photos = [set(groups[getattr(splits, name)]) for name in SPLIT_NAMES]
    assert not photos[0] & photos[1]
    assert not photos[0] & photos[2]
    assert not photos[1] & photos[2]
    num_validation, num_test = PROTOCOLS[protocol](len(labels))
    assert len(splits.validation) == pytest.approx(num_validation, abs=10)
    assert len(splits.test) == pytest.approx(num_test, abs=10)


@st.composite
def labelled_groups(draw) -> tuple[np.ndarray, np.ndarray]:
    """(labels, groups) of up to 6 classes with 3 to 15 photos each, of 1 to 5 drawings, in any order."""
    sizes = draw(st.lists(st.lists(st.integers(1, 5), min_size=3, max_size=15), min_size=1, max_size=6))
    labels = np.repeat(np.arange(len(sizes)), [sum(photos) for photos in sizes])
    groups = np.repeat(np.arange(sum(map(len, sizes))), [size for photos in sizes for size in photos])
    order = np.array(draw(st.permutations(range(len(labels)))))
    return labels[order], groups[order]


@given(data=labelled_groups(), protocol=st.sampled_from(sorted(PROTOCOLS)), split_by=st.sampled_from(SPLIT_BY))
@settings(max_examples=150, deadline=None)
def test_every_split_is_a_partition_with_every_class_and_without_shared_photos(data, protocol, split_by):
    labels, groups = data
    splits = make_splits(labels, groups, protocol=protocol, split_by=split_by, seed=0)
    check_partition(splits, len(labels))
    for name in SPLIT_NAMES:
        assert set(labels[getattr(splits, name)]) == set(labels), name
    if split_by == "photo":
        photos = [set(groups[getattr(splits, name)]) for name in SPLIT_NAMES]
        assert sum(map(len, photos)) == len(set(groups))


def test_split_by_file_ignores_photos():
    labels, groups = label_evenly(5, 100), np.arange(500) // 10
    splits = make_splits(labels, np.arange(500), protocol="standard", split_by="file", seed=0)
    assert count(splits) == (450, 25, 25)
    assert set(groups[splits.train]) & set(groups[splits.test])


def test_photo_behind_two_classes_stays_in_one_split():
    labels = label_evenly(2, 12)
    groups = np.concatenate([np.arange(12) // 2, np.arange(12) // 2])  # the same six photos in both classes
    for seed in range(20):
        splits = make_splits(labels, groups, protocol="small", split_by="photo", seed=seed)
        check_partition(splits, 24)
        assert not set(groups[splits.train]) & set(groups[splits.test])
        assert not set(groups[splits.train]) & set(groups[splits.validation])
        for name in SPLIT_NAMES:
            assert set(labels[getattr(splits, name)]) == {0, 1}


def test_unequal_classes_keep_their_share():
    labels = np.concatenate([np.zeros(1_000, np.int64), 1 + label_evenly(100, 10)])
    splits = make_splits(labels, np.arange(2_000), protocol="standard", split_by="file", seed=0)
    # One hundred classes too small for 5 % take one each, and not at the large class's cost.
    assert np.bincount(labels[splits.test])[0] in (49, 50)


def test_seed_decides():
    labels = label_evenly(4, 30)
    first, again, other = (
        make_splits(labels, np.arange(120), protocol="standard", split_by="photo", seed=seed) for seed in (7, 7, 8)
    )
    assert (first.test == again.test).all()
    assert (first.train == again.train).all()
    assert list(first.test) != list(other.test)


def test_errors_name_the_class_and_the_known_names():
    labels = np.array([0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"at least three drawings of each class.*dog \(2\)"):
        make_splits(labels, np.arange(5), protocol="small", split_by="file", seed=0, class_names=["cat", "dog"])
    with pytest.raises(ValueError, match=r"three photos.*class 0 \(2\).*--split-by file"):
        make_splits(np.zeros(9, np.int64), np.arange(9) // 5, protocol="small", split_by="photo", seed=0)
    with pytest.raises(ValueError, match="protocol must be one of standard, paper, small, got 'studdy'"):
        make_splits(labels, np.arange(5), protocol="studdy", split_by="file", seed=0)
    with pytest.raises(ValueError, match="split_by must be one of photo, file, got 'class'"):
        make_splits(labels, np.arange(5), protocol="small", split_by="class", seed=0)


def make_data(names: list[str], labels: list[int], has_photos: bool) -> SketchData:
    return SketchData(
        images=np.zeros((len(names), 8, 8), np.uint8),
        labels=np.array(labels),
        class_names=["a,b", 'c"d'],
        names=names,
        groups=np.arange(len(names)),
        fingerprint="",
        synthetic=False,
        has_photos=has_photos,
        skipped=[],
        original_px=None,
    )


def test_splits_survive_the_file(tmp_path):
    names = [f"x/n02123045_{i}-1.png" for i in range(4)] + [f'odd, "name" ö{i}' for i in range(4)]
    data = make_data(names, [0] * 4 + [1] * 4, has_photos=True)
    splits = make_splits(data.labels, data.groups, protocol="small", split_by="photo", seed=0)
    path = tmp_path / "splits.csv"
    write_splits(path, data, splits)
    assert path.read_text().splitlines()[0] == "image,class,split,photo"
    assert ",n02123045_0" in path.read_text().splitlines()[1]
    read = read_splits(path, data)
    for name in SPLIT_NAMES:
        assert list(getattr(read, name)) == list(getattr(splits, name))
    assert list(tmp_path.iterdir()) == [path]

    with pytest.raises(ValueError, match=r"does not match.*8 images, the data 7"):
        read_splits(path, make_data(names[:-1], [0] * 4 + [1] * 3, has_photos=True))
    with pytest.raises(ValueError, match='is c"d, not a,b'):
        read_splits(path, make_data(names, [1] * 4 + [1] * 4, has_photos=True))
    path.write_text(path.read_text().replace(",train", ",training"))
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got 'training'"):
        read_splits(path, data)


@given(data=labelled_groups(), lacking=st.sampled_from([(1,), (2,), (1, 2)]), chance=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_what_a_given_split_lacks_comes_out_of_train_by_groups(data, lacking, chance):
    labels, groups = data
    given = np.zeros(len(labels), np.int8)
    kept = [which for which in (1, 2) if which not in lacking]
    for group in sorted(set(groups)):
        (label,) = set(labels[groups == group])
        in_train = {int(other) for other in groups[(labels == label) & (given == 0)]}
        if kept and len(in_train) > 3 and chance.random() < 0.3:
            given[groups == group] = kept[0]
    if kept and not (given == kept[0]).any():
        return
    names = [f"{number}.png" for number in range(len(labels))]
    sketches = replace(make_data(names, list(labels), has_photos=False), groups=groups, given_split=given)
    sketches = replace(sketches, class_names=[f"class {number}" for number in range(max(labels) + 1)])
    splits = split_data(sketches, protocol="small", split_by=None, seed=0)
    check_partition(splits, len(labels))
    for which in kept:
        assert list(getattr(splits, SPLIT_NAMES[which])) == list(np.flatnonzero(given == which))
    for which in (0, *lacking):
        assert set(labels[getattr(splits, SPLIT_NAMES[which])]) == set(labels)
    sides = [set(groups[getattr(splits, SPLIT_NAMES[which])]) for which in (0, *lacking)]
    assert sum(map(len, sides)) == len(set().union(*sides))


def test_photo_of_sketchy_names():
    assert photo_of("cat/n02123045_127-3.png") == "n02123045_127"
    assert photo_of("cat/17.png") is None
    assert photo_of("doodles/cat/17") is None
