"""The drawing page's server, without a browser: drawings in, classes out, nothing for strangers."""

import json
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.fake_runs import make_finished_run
from tests.support.real_search import ROOT
from tune_sketch.data.pixels import measure_extent, measure_lines, measure_pen, measure_strength
from tune_sketch.data.strokes import render_strokes
from tune_sketch.draw import main
from tune_sketch.inference.drawing_page import (
    MAX_BYTES,
    MAX_POINTS,
    classify_strokes,
    draw_strokes,
    make_app,
    open_server,
    prepare_strokes,
)
from tune_sketch.inference.model import load_classifier

pytest.importorskip("flask", reason="the extra `draw` is not installed")


# Posts bodies to the page and prints the status and the bytes by which the process was larger meanwhile than before.
POST = """
import sys
from pathlib import Path
from tune_sketch.inference.drawing_page import make_app
from tune_sketch.inference.model import load_classifier

def bytes_of(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name + ":")))

client = make_app(load_classifier(Path(sys.argv[1]))).test_client()
for path in sys.argv[2:]:
    body = Path(path).read_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
    before = bytes_of("VmRSS")
    how = {"content_type": "application/json", "base_url": "http://127.0.0.1:8765"}
    answer = client.post("/recognise", data=body, **how)
    print(answer.status_code, bytes_of("VmHWM") - before)
"""
MOST_BYTES_OF_REQUEST = 200_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("draw") / "run", num_trials=3, failed=0)


@pytest.fixture(scope="module")
def classifier(run):
    return load_classifier(run.path)


@pytest.fixture(scope="module")
def client(classifier):
    return make_app(classifier).test_client()


HOUSE = [[[0.2, 0.8], [0.2, 0.4], [0.5, 0.1], [0.8, 0.4], [0.8, 0.8], [0.2, 0.8]], [[0.45, 0.8], [0.45, 0.6]]]


def post(client, strokes, **options):
    options = {"base_url": "http://127.0.0.1:8765"} | options
    return client.post("/recognise", json={"strokes": strokes}, **options)


def test_a_drawing_is_recognised(client):
    answer = post(client, HOUSE).get_json()
    assert len(answer["predictions"]) == 5
    probabilities = [probability for _, probability in answer["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert answer["overlay"].startswith("data:image/png;base64,")
    assert client.get("/", base_url="http://127.0.0.1:8765").status_code == 200


def test_the_page_names_the_classes_whatever_they_are_called(classifier):
    hostile = ["</script><script>alert(1)</script>", "NUM_CLASSES", *classifier.class_names[2:]]
    app = make_app(replace(classifier, class_names=hostile))
    page = app.test_client().get("/", base_url="http://127.0.0.1:8765").get_data(as_text=True)
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert f"The {len(hostile)} classes that it knows" in page
    assert "NUM CLASSES, " in page
    assert all(name.replace("_", " ") in page for name in classifier.class_names[2:])


def test_an_empty_canvas_has_no_class(client):
    for nothing in ([], [[]]):
        assert post(client, nothing).get_json() == {"predictions": [], "overlay": None}


@pytest.mark.parametrize(("pen", "extent"), [(0.02, 0.9), (0.05, 0.6), (0.1, 0.8)])
def test_size_and_pen_are_those_of_the_training_drawings(classifier, pen, extent):
    """Whatever the size on the canvas: a network of thin lines is not shown thick ones."""
    model = replace(classifier, pen_width_fraction=pen, extent_fraction=extent)
    for scale, shift in ((1.0, 0.0), (0.6, 0.1), (0.4, 0.6)):
        ink = draw_strokes(model, [scale * np.array(stroke) + shift for stroke in HOUSE], 128, extent)
        assert measure_pen(ink) == pytest.approx(128 * pen, rel=0.15)
        assert measure_extent(ink) == pytest.approx(extent, abs=0.03)


def test_lines_are_as_dark_as_those_of_the_training_drawings(classifier):
    """Lines thinner than a pixel are pale; a pen of a pixel's width is dark, whatever its width was measured as."""
    house = [np.array(stroke) for stroke in HOUSE]
    pale = np.stack([render_strokes(house, 64, 0.5, margin) for margin in (0.1, 0.15, 0.2)])
    model = replace(classifier, image_px=64, **measure_lines(pale, np.arange(3), True))
    found = prepare_strokes(model, house, model.extent_fraction)
    assert measure_strength(found) == pytest.approx(np.mean([measure_strength(ink) for ink in pale]), rel=0.03)
    dark = prepare_strokes(replace(model, ink_strength=1.0), house, model.extent_fraction)
    assert dark.sum() > 1.3 * found.sum()
    light = replace(model, invert=False)
    assert (prepare_strokes(light, house, model.extent_fraction) == 255 - found).all()


def test_a_drawing_is_seen_in_the_sizes_of_the_training_drawings(classifier, client):
    """The page's answer is the mean over them, and of a network that knows one size the answer to that one."""
    house = [np.array(stroke) for stroke in HOUSE]
    several = replace(classifier, extent_fraction=0.7, extent_range=(0.5, 0.9))
    views = np.stack([prepare_strokes(several, house, extent) for extent in (0.5, 0.7, 0.9)])
    assert [measure_extent(ink) for ink in views] == pytest.approx([0.5, 0.7, 0.9], abs=0.08)
    expected = several.compute_probabilities(views).mean(axis=0)
    assert classify_strokes(several, [house, house]) == pytest.approx(np.stack([expected] * 2), abs=1e-6)
    one = replace(classifier, extent_range=())
    alone = one.compute_probabilities(prepare_strokes(one, house, one.extent_fraction)[None])
    assert classify_strokes(one, [house]) == pytest.approx(alone, abs=1e-6)
    shown = dict(post(client, HOUSE).get_json()["predictions"])
    own = classify_strokes(classifier, [house])[0]
    assert shown == pytest.approx({name: own[classifier.class_names.index(name)] for name in shown}, abs=1e-6)


def test_a_run_says_how_its_drawings_were_drawn(classifier, tmp_path):
    smaller, larger = classifier.extent_range
    assert 0 < smaller <= classifier.extent_fraction <= larger <= 1
    assert 0 < classifier.ink_strength <= 1
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.2, 0.9, 40)
    square = [np.array([[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]])]
    ink = np.stack([render_strokes(square, 100, 4.0, (1 - size) / 2) for size in sizes])
    known = measure_lines(255 - ink, np.arange(40), invert=False)
    assert known["pen_width_fraction"] == pytest.approx(0.04, abs=0.004)
    expected = np.quantile(sizes, (0.25, 0.5, 0.75))
    assert [known["extent_range"][0], known["extent_fraction"], known["extent_range"][1]] == pytest.approx(
        expected, abs=0.02
    )


def test_a_dot_is_not_blown_up(classifier):
    ink = draw_strokes(classifier, [np.array([[0.3, 0.3], [0.305, 0.3]])], 64, 0.8)
    assert 0 < (ink > 0).mean() < 0.02


def test_strangers_and_nonsense_are_refused(client):
    assert post(client, HOUSE, base_url="http://evil.example:8765").status_code == 403
    assert post(client, HOUSE, base_url="http://localhost:8765").status_code == 200
    answer = client.post("/recognise", data=b"x", content_type="image/png", base_url="http://127.0.0.1:8765")
    assert answer.status_code == 415
    many = [[[0.5, 0.5]] * (MAX_POINTS + 1)]
    for nonsense in ([["x"]], [[[1, 2, 3]]], 7, [[[1e9, 0]]], [[[None, 0]]], {"a": 1}, many):
        assert post(client, nonsense).status_code == 400
    for text in (b"", b"{", b"[]", b"[" * 100_000, b'{"strokes": [[[NaN, 0]]]}'):
        answer = client.post("/recognise", data=text, content_type="application/json", base_url="http://127.0.0.1:8765")
        assert answer.status_code == 400


def fill(start, item, end):
    """As many of an item as a request may hold."""
    num_items = (MAX_BYTES - len(start) - len(end)) // (len(item) + 1)
    return start + ",".join([item] * num_items) + end


CORNERS = [[-1, -1], [2, 2], [2, -1], [-1, 2]]
# (status, body) of what costs most, and of what is refused.
LONGEST = (200, json.dumps({"strokes": [[CORNERS[number % 4] for number in range(MAX_POINTS)]]}))
EMPTIEST = (200, fill('{"strokes":[', "[]", "]}"))
REFUSED = (
    (400, fill('{"strokes":[', "[0,0]", "]}")),
    (400, fill('{"strokes":[[', "[0,0]", "]]}")),
    (400, fill('{"strokes":[', "{}", "]}")),
    (400, fill('{"strokes":[[', '"0"', "]]}")),
    (400, "[" * MAX_BYTES),
    (413, " " * (MAX_BYTES + 1)),
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures as Linux does")
@pytest.mark.parametrize("requests", [[LONGEST], [EMPTIEST], REFUSED], ids=["longest", "emptiest", "refused"])
def test_one_request_costs_little_memory(run, tmp_path, requests):
    """As many points as are accepted, from corner to corner; as many strokes without points; what is refused."""
    paths = [str(tmp_path / str(number)) for number in range(len(requests))]
    for path, (_, body) in zip(paths, requests, strict=True):
        Path(path).write_text(body)
    command = [sys.executable, "-c", POST, str(run.path), *paths]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert answer.returncode == 0, answer.stderr
    found = [tuple(map(int, line.split())) for line in answer.stdout.splitlines()]
    assert [status for status, _ in found] == [status for status, _ in requests]
    assert max(num_bytes for _, num_bytes in found) < MOST_BYTES_OF_REQUEST, found


def test_errors_are_one_clear_line(tmp_path, capsys):
    for arguments in ([str(tmp_path)], [str(tmp_path), "--port", "70000"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1


def test_the_server_answers_and_keeps_its_port(tmp_path):
    run = make_finished_run(tmp_path / "run", num_trials=3, failed=0)
    server = open_server(load_classifier(run.path), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert server.host == "127.0.0.1"
        with urllib.request.urlopen(f"http://{server.host}:{server.server_port}/", timeout=30) as answer:
            assert b"<canvas" in answer.read()
        with pytest.raises(ValueError, match=rf"port {server.server_port} is taken: choose another with --port"):
            open_server(load_classifier(run.path), server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
