"""Durations, names and seeds: what is accepted, what is refused by name, and the same seeds everywhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_sketch.config.checks import SECONDS, check_between, check_known, check_run_name, did_you_mean, parse_duration
from tune_sketch.config.seeds import derive_seed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("45s", 45), ("30m", 1800), ("2h", 7200), ("1d", 86400), ("1.5h", 5400), (" 2 m ", 120)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([*SECONDS, ""]), st.integers(0, 99))
def test_any_duration_is_its_number_of_units(whole, unit, hundredths):
    assert parse_duration(f"{whole}{unit}") == whole * SECONDS.get(unit, 1)
    assert parse_duration(f"{whole}.{hundredths:02d} {unit}") == pytest.approx(
        (whole + hundredths / 100) * SECONDS.get(unit, 1)
    )


@pytest.mark.parametrize("text", ["", "h", "soon", "-1h", "1w", "1h30m", "1e3", ".5h", "nan"])
def test_what_is_no_duration_is_refused_with_its_text(text):
    with pytest.raises(ValueError, match="a duration must look like") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers() | st.text(), max_size=4))
def test_a_seed_has_31_bits_and_depends_on_its_parts_alone(parts):
    assert 0 <= derive_seed(*parts) < 2**31
    assert derive_seed(*parts) == derive_seed(*parts)


def test_seeds_are_the_same_everywhere():
    assert derive_seed(0, "trial", 7) == 568685018
    assert len({derive_seed(0, "trial", number) for number in range(1000)}) == 1000
    assert derive_seed(0, "trial", 7) != derive_seed(0, "sampler", 7)


def test_what_is_not_known_is_named_with_what_is():
    check_known("--colour", "red", ["red", "blue"])
    with pytest.raises(ValueError, match=r"--colour must be one of red, blue, got 'bleu' \(did you mean 'blue'\?\)"):
        check_known("--colour", "bleu", ["red", "blue"])
    assert did_you_mean("xyz", ["red"]) == ""


def test_a_number_that_is_too_small_is_named():
    check_between("--n", 2, 2, 2)
    for value in (1, float("nan")):
        with pytest.raises(ValueError, match=f"--n must be at least 2, got {value}"):
            check_between("--n", value, 2, 9)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "-a", "a b", "ä", "a" * 101, "a\n"])
def test_a_run_is_one_plain_folder_name(name):
    assert check_run_name("resnet50-2026.01_b") == "resnet50-2026.01_b"
    with pytest.raises(ValueError, match="--name must be one folder name"):
        check_run_name(name)
