"""Strokes: parsing of any line, anti-aliasing, pen width, boxes, degenerate strokes, same drawing at each size."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_sketch.data.formats.strokes import parse_strokes
from tune_sketch.data.pixels import BadDrawingError
from tune_sketch.data.strokes import default_pen_width_px, render_strokes

DIAGONAL = [np.array([[0.0, 0.0], [1.0, 0.7]])]
ZIGZAG = [np.array([[0.0, 0.0], [3.0, 1.0], [0.0, 2.0], [3.0, 3.0]]), np.array([[1.0, 0.0], [1.0, 3.0]])]


def test_horizontal_line_covers_exactly_its_pen_width():
    line = [np.array([[4.0, 8.0], [12.0, 8.0]])]
    image = render_strokes(line, 16, pen_width_px=3.0, fit_to_box=False, box=(0, 0, 16, 16))
    # Rows 6 and 9 hold half a pixel of the pen each, rows 7 and 8 are full.
    assert image[:, 8].tolist() == [0] * 6 + [128, 255, 255, 128] + [0] * 6


def test_slanted_line_is_antialiased():
    image = render_strokes(DIAGONAL, 32)
    assert image.dtype == np.uint8
    assert image.shape == (32, 32)
    assert (image.min(), image.max()) == (0, 255)
    assert len(np.unique(image)) > 10


@pytest.mark.parametrize("image_px", [28, 64, 224])
def test_ink_follows_the_pen_width(image_px):
    ink = [render_strokes(DIAGONAL, image_px, pen_width_px=w).astype(float).sum() for w in (0.5, 1.0, 2.0, 4.0)]
    assert np.all(np.diff(ink) > 0)
    assert ink[3] / ink[2] == pytest.approx(2, rel=0.15)
    assert ink[0] / ink[1] == pytest.approx(0.5, rel=0.25)


def test_same_drawing_at_every_size():
    small = render_strokes(ZIGZAG, 32, pen_width_px=2.0).astype(float)
    large = render_strokes(ZIGZAG, 128, pen_width_px=8.0).astype(float)
    shrunk = large.reshape(32, 4, 32, 4).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 4
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.99


def test_fit_keeps_margin_and_aspect_ratio():
    wide = [np.array([[100.0, 7.0], [300.0, 7.0], [300.0, 57.0]])]
    image = render_strokes(wide, 100, pen_width_px=2.0, margin=0.1)
    rows, columns = np.nonzero(image)
    assert (columns.min(), columns.max()) == (10, 89)
    assert 18 <= rows.max() - rows.min() <= 24  # a quarter of the width


def test_one_point_is_a_dot_and_no_point_is_nothing():
    dot = render_strokes([[[5.0, 5.0]]], 21, pen_width_px=4.0)
    assert dot[10, 10] == 255
    assert dot[0].max() == 0
    assert dot.sum() / 255 == pytest.approx(np.pi * 4, rel=0.1)
    repeated = render_strokes([np.full((6, 2), 5.0)], 21, pen_width_px=4.0)
    assert np.array_equal(dot, repeated)
    assert render_strokes([], 16).max() == 0
    assert render_strokes([np.zeros((0, 2))], 16).max() == 0


def test_ink_outside_of_the_box_is_clipped():
    crossing = [np.array([[-50.0, 0.5], [50.0, 0.5]]), np.array([[7.0, 7.0], [9.0, 9.0]])]
    image = render_strokes(crossing, 16, pen_width_px=2.0, fit_to_box=False)
    assert image[7:9].min() == 255
    assert image[:6].max() == 0
    assert image[10:].max() == 0


def test_further_columns_and_lists_are_accepted():
    timed = [np.column_stack([stroke, np.arange(len(stroke))]) for stroke in ZIGZAG]
    plain = render_strokes([stroke.tolist() for stroke in ZIGZAG], 40)
    assert np.array_equal(render_strokes(timed, 40), plain)


def test_default_pen_is_visible_at_every_size():
    assert default_pen_width_px(28) == 1.5
    assert default_pen_width_px(224) == pytest.approx(5.6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_px": 0}, "image_px must be at least 1, got 0"),
        ({"image_px": 8, "pen_width_px": 0.0}, "pen_width_px must be a positive number, got 0.0"),
        ({"image_px": 8, "margin": 0.5}, "margin must be in"),
        ({"image_px": 8, "fit_to_box": False, "box": (0, 0, 0, 1)}, "box must be"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_strokes(DIAGONAL, **arguments)


def test_impossible_strokes_are_refused():
    with pytest.raises(ValueError, match="finite"):
        render_strokes([[[0.0, float("nan")]]], 8)
    with pytest.raises(ValueError, match=r"stroke 1 must have shape \[num_points, 2\]"):
        render_strokes([[[0.0, 0.0]], [1.0, 2.0, 3.0]], 8)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
COORDINATES = st.floats(-1e6, 1e6, allow_subnormal=False)
STROKES = st.lists(st.lists(st.tuples(COORDINATES, COORDINATES), min_size=1, max_size=6), min_size=1, max_size=4)


@given(line=st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_line_is_strokes_or_a_bad_drawing(line):
    check_line(line)


@given(drawing=JSON)
@settings(max_examples=300, deadline=None)
def test_anything_in_place_of_the_strokes_is_strokes_or_a_bad_drawing(drawing):
    check_line(json.dumps({"word": "cat", "drawing": drawing}).encode())


def check_line(line: bytes) -> None:
    try:
        strokes = parse_strokes(line, "cat")
    except BadDrawingError:
        return
    assert sum(len(stroke) for stroke in strokes)
    for stroke in strokes:
        assert stroke.shape[1:] == (2,)
        assert np.isfinite(stroke).all()


@pytest.mark.parametrize("drawing", ["[[[1" + "0" * 400 + "], [2]]]", "[" * 100_000, "[[[1e999], [2]]]"])
def test_numbers_and_nesting_beyond_python_are_bad_drawings(drawing):
    with pytest.raises(BadDrawingError, match=r"not a Quick, Draw! drawing"):
        parse_strokes(f'{{"word": "cat", "drawing": {drawing}}}'.encode(), "cat")


@given(strokes=STROKES, image_px=st.integers(8, 40))
@settings(max_examples=100, deadline=None)
def test_strokes_survive_their_line_and_leave_ink_on_a_clean_margin(strokes, image_px):
    lines = [[[x for x, _ in stroke], [y for _, y in stroke]] for stroke in strokes]
    parsed = parse_strokes(json.dumps({"word": "cat", "drawing": lines}).encode(), "cat")
    assert [stroke.tolist() for stroke in parsed] == [[list(point) for point in stroke] for stroke in strokes]
    image = render_strokes(parsed, image_px, pen_width_px=1.5, margin=0.2)
    assert image.max() > 100
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert border.max() == 0
