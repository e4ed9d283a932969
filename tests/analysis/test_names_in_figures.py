"""Whatever the classes and the run are called, every figure is drawn without a warning, and links work."""

import re
import urllib.parse
import warnings
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from tests.support.drawings import make_image_folder
from tests.support.fake_runs import make_finished_run
from tune_sketch.analysis.figures.base import write_figures
from tune_sketch.analysis.figures.registry import FIGURES, FIGURES_OF_RUNS
from tune_sketch.analysis.report import write_report
from tune_sketch.analysis.run_data import read_run
from tune_sketch.data import figure_text as module
from tune_sketch.data.figure_text import FIRST_FAMILY, check_drawable, figure_fonts, figure_text
from tune_sketch.storage.files import read_csv

HARD = (
    "$a$b",
    r"\frac{1",
    "$\\bad{$",
    "=x|y",
    "猫",
    "😀 café",
    "two\nlines",
    "\x1b[31m",
    "b\udce9",
    "_",
    " ",
    "x" * 200,
)
RUN_NAME = "we#i?r%20 {x} '\"$a$ 猫 <b>&amp;"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hard")
    root = make_image_folder(folder / "set", HARD, per_class=6)
    return make_finished_run(
        folder / RUN_NAME, data=str(root), classes=None, per_class=None, image_px=32, skip_bad_images=True
    )


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("cat", "cat"),
        ("$a$b", r"\$a\$b"),
        (r"\$", r"\\$"),
        ("two\nlines", r"two\x0alines"),
        ("x" * 41, "x" * 39 + "…"),
        ("x" * 40, "x" * 40),
        ("café Ünïcödé Ωж", "café Ünïcödé Ωж"),
        ("\U00012000", r"\U00012000"),  # a cuneiform sign, which hardly any font has
        ("a\U000e0041b", "ab"),  # a tag, which shows nothing by itself
    ],
)
def test_text_in_figures(text, drawn):
    assert figure_text(text) == drawn


@pytest.mark.parametrize(
    "text", ["$", "$$", "$a$", r"\$a$", r"$\bad{$", "a\\$b$c$", "\\", "{", "%", "_", "#", "猫$猫$"]
)
def test_what_is_drawn_is_no_formula(text):
    with warnings.catch_warnings(), figure_fonts([text]):
        warnings.simplefilter("error")
        figure = Figure()
        label = figure.text(0.5, 0.5, figure_text(text))
        figure.savefig("/dev/null", format="png")
    assert label._preprocess_math(label.get_text())[1] is False


def test_a_style_of_the_users_own_does_no_harm():
    with rc_context({"font.family": "no such font", "text.usetex": True}):
        check_drawable(["$a$b", "café", "猫"])


def make_font(path: Path, family: str, letters: str) -> Path:
    """A font with a square for each of the letters."""
    names = [".notdef", *(f"glyph{number}" for number in range(len(letters)))]
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 500), (500, 500), (500, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def cuneiform(tmp_path, monkeypatch):
    """A machine that has a font for U+12000 and U+12001."""
    path = make_font(tmp_path / "cuneiform.ttf", "Test Cuneiform", "\U00012000\U00012001")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(path)
    caches = (module._family_of, module._font_files, module._open_font)
    for cached in caches:
        cached.cache_clear()
    yield "Test Cuneiform"
    for cached in caches:
        cached.cache_clear()


def test_a_font_of_the_machine_draws_what_the_usual_one_lacks(cuneiform):
    text = "cat \U00012000"
    assert figure_text(text) == text
    with warnings.catch_warnings(), figure_fonts([text]):
        warnings.simplefilter("error")
        label = Text(0, 0, figure_text(text))
        assert label.get_fontfamily() == [FIRST_FAMILY, cuneiform]
    check_drawable([text])


def test_every_figure_and_the_page_are_made(run, tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write_report([run.path], run.report_html).read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""
    data = read_run(run.path)
    made = {figure.name for figure in FIGURES if figure.rows(data)}
    assert {"confusion", "classes", "label_distribution", "confused_pairs", "samples", "activation_maps"} <= made
    assert {path.stem for path in (run.path / "figures").glob("*.png")} == made
    assert "<b>&amp;<" not in page
    assert "\x1b" not in page
    named = [row["class"] for row in read_csv(run.path / "figures" / "label_distribution.csv")]
    assert named == list(data.class_names)
    text = (run.path / "figures" / "label_distribution.csv").read_text(encoding="utf-8")
    assert "\n'=x|y," in text, "a spreadsheet computes nothing"


def test_a_report_of_several_runs_leads_to_their_files(run, tmp_path):
    other = make_finished_run(tmp_path / "b#?", num_trials=4, classes=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = write_report([run.path, other.path], tmp_path / "all.html")
    links = re.findall(r'href="([^"#]+)"', path.read_text(encoding="utf-8"))
    assert len(links) > 30
    for link in links:
        assert (path.parent / urllib.parse.unquote(link)).is_file(), f"a browser does not find {link}"
        assert not re.search(r"[ '<>?]", link)


def test_figures_of_runs_name_hard_runs(run, tmp_path):
    runs = [read_run(run.path), read_run(make_finished_run(tmp_path / "$a$b", num_trials=4, classes=3).path)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = write_figures(FIGURES_OF_RUNS, runs, tmp_path, tmp_path)
    assert len(shown) == len(FIGURES_OF_RUNS)
