"""Every reader of other people's files: damaged ones are read or named as bad, and how many were tried is printed.

More inputs: python -m tests.attack.
"""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attack import attack
from tests.support.boundaries import BOUNDARIES, Boundary, finished_run, read_best, read_post, read_search_json
from tune_sketch.data.names import from_cell, to_cell, written_lines

NUM_INPUTS = 12
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
few = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.filterwarnings("default")  # of decoders and parsers about what is damaged
@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda boundary: boundary.name)
def test_damaged_inputs_are_read_or_named_as_bad(boundary: Boundary, tmp_path, record_inputs):
    if boundary.missing():
        pytest.skip(boundary.missing())
    count = attack(boundary, NUM_INPUTS, tmp_path)
    record_inputs(count.tried, count.refused)
    assert count.faults == []
    assert count.tried == NUM_INPUTS


def change_one(values: object, place: list[int], value: object) -> object:
    """The JSON values with one of them exchanged, found by going down along `place`."""
    if not place or not isinstance(values, dict | list) or not values:
        return value
    keys = list(values) if isinstance(values, dict) else list(range(len(values)))
    key = keys[place[0] % len(keys)]
    copy = values.copy()
    copy[key] = change_one(copy[key], place[1:], value)
    return copy


@pytest.mark.parametrize(("name", "read"), [("search.json", read_search_json), ("best/model.json", None)])
@few
@given(place=st.lists(st.integers(0, 40), min_size=1, max_size=4), value=VALUES)
def test_any_value_at_any_place_is_read_or_named(name, read, tmp_path_factory, record_inputs, place, value):
    good = json.loads((finished_run().path / name).read_text())
    folder = tmp_path_factory.mktemp("any")
    content = json.dumps(change_one(good, place, value)).encode()
    try:
        if read is not None:
            read(content, folder)
        else:
            read_best(name, content, folder)
    except ValueError:
        record_inputs(1, 1)
    else:
        record_inputs(1, 0)


@few
@given(strokes=VALUES | st.lists(st.lists(st.lists(st.floats(-3, 3), max_size=3), max_size=5), max_size=5))
def test_any_request_to_the_drawing_page_is_answered_or_refused(strokes, tmp_path, record_inputs):
    try:
        read_post(json.dumps({"strokes": strokes}).encode(), tmp_path)
    except ValueError:
        record_inputs(1, 1)
    else:
        record_inputs(1, 0)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=st.text(st.sampled_from("=+-@\t\r\n'\"|,;$<&\x1b[0mA1²＝＋－＠"), max_size=8))
def test_no_cell_is_a_formula_and_every_cell_is_read_back(text):
    cell = to_cell(text)
    assert from_cell(cell) == text
    is_number = cell.lstrip("+-").replace(".", "", 1).isascii() and cell.lstrip("+-").replace(".", "", 1).isdigit()
    assert len(cell) < 2 or cell[0] not in "=+-@\t\r\n＝＋－＠" or is_number


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=st.text(max_size=20) | st.text(st.sampled_from("\x1b[31m\x9b\x07\x08\r\u202e\u2066abc"), max_size=12))
def test_no_text_steers_the_terminal(text):
    shown = written_lines(text)
    assert not set(shown) & {
        *map(chr, range(9)),
        *map(chr, range(11, 32)),
        *map(chr, range(127, 160)),
        "\u202e",
        "\u2066",
    }
