"""The recogniser as a static page, in a real browser: the same answers as Python, offline, by finger."""

import functools
import http.server
import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.support.browser import keep, wait_until
from tests.support.fake_runs import make_finished_run
from tests.support.firefox import FIREFOX, Firefox
from tests.support.needs_browser import needs_browser
from tests.support.strokes import make_drawings
from tune_sketch.export import main
from tune_sketch.inference.drawing_page import classify_strokes
from tune_sketch.inference.model import load_classifier
from tune_sketch.inference.web_runtime import find_runtime
from tune_sketch.storage.files import write_json

pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
pytestmark = pytest.mark.real
ASK_ALL = """async (all, isQuick) => {
  const answers = [];
  for (const strokes of all) answers.push(await recognise(strokes, isQuick));
  return answers;
}"""
READY, PHONE = "works offline from now on", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        self.server.asked.append(self.path)


class Served:
    """A folder on a web server of static files, which can be ended and begun again at the same address."""

    def __init__(self, folder):
        self.handler = functools.partial(Quiet, directory=str(folder))
        self.port, self.asked = 0, []
        self.start()

    def start(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self.handler)
        self.server.asked = self.asked
        self.port = self.server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    try:
        find_runtime()
    except ValueError as error:
        pytest.skip(str(error))
    choices = {"classes": ["apple", "cat", "fish", "house", "sun", "tree"]}
    run = make_finished_run(tmp_path_factory.mktemp("site") / "run", num_trials=3, failed=0, **choices)
    model = run.best / "model.json"
    write_json(model, json.loads(model.read_text()) | {"temperature": 0.02})  # sharp answers: every pixel counts
    assert main([str(run.path), "--to", "site"]) == 0
    return run


@pytest.fixture(scope="module")
def served(run):
    served = Served(run.best / "site")
    yield served
    served.stop()


def note_of(browser):
    return browser.find_element("id", "note").text


def ask(browser, code, *arguments):
    """The value of an asynchronous expression."""
    script = f"const done = arguments[arguments.length - 1]; ({code})(...arguments).then(done, (e) => done(String(e)));"
    return browser.execute_async_script(script, *arguments)


@needs_browser
def test_the_page_answers_as_python_does(browser, run, served):
    """100 drawings: dots, tiny and large ones, long lines, many points; each class's probability within 1e-3."""
    model = load_classifier(run.path)
    drawings = make_drawings(100)
    browser.get(served.address)
    browser.set_script_timeout(60)
    wait_until(lambda: READY in note_of(browser))
    plain = [[stroke.tolist() for stroke in strokes] for strokes in drawings]
    answers = ask(browser, ASK_ALL, plain, False)
    expected = classify_strokes(model, drawings)
    assert len({tuple(np.argsort(-row)) for row in expected}) > 3, "the drawings are told apart"
    assert np.abs(np.array(answers) - expected).max() < 1e-3
    for change in ({"ink_strength": 0.9 * model.ink_strength}, {"extent_range": ()}, {"pen_width_fraction": 0.05}):
        other = classify_strokes(replace(model, **change), drawings)
        assert np.abs(other - expected).max() > 1e-2, f"{change} is noticed"
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
    hosts = browser.execute_script("return performance.getEntriesByType('resource').map((r) => new URL(r.name).host)")
    assert set(hosts) <= {"", f"127.0.0.1:{served.port}"}, "nothing is fetched from elsewhere"
    foreign = "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
    assert browser.execute_script(foreign + "return window.ran") is None, "the policy lets no other script run"


@needs_browser
def test_a_finger_draws_on_a_phone_and_it_works_offline(browser, served):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        browser.get(served.address)
        wait_until(lambda: READY in note_of(browser))
        served.stop()
        browser.get(served.address)  # nobody answers there any more
        wait_until(lambda: READY in note_of(browser))
        roof, door = [(80, 300), (180, 120), (280, 300), (80, 300)], [(150, 300), (150, 240), (210, 240)]
        touch(browser, roof)
        wait_until(lambda: len(browser.find_elements("css selector", "#classes li")) == 5)
        assert browser.execute_script("return current !== null"), "the finger is still down"
        lift(browser)
        touch(browser, door)
        lift(browser)
        wait_until(lambda: len(browser.find_elements("css selector", "#classes li")) == 5)
        keep(browser, "site-phone")
        widths = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1] == 390, "the page does not scroll sideways"
        last = browser.find_elements("css selector", "#classes li")[-1].rect
        assert last["y"] + last["height"] <= 844, "drawing and answers are seen together"
        pictures = browser.find_elements("css selector", "#classes .picture")
        assert all(picture.size["width"] > 80 for picture in pictures)
        shares = [float(n.text.removesuffix(" %")) for n in browser.find_elements("css selector", "#classes .number")]
        assert shares == sorted(shares, reverse=True)
        for summary in browser.find_elements("css selector", "summary"):
            summary.click()
        text = browser.find_element("css selector", "section").text
        assert "at its first guess" in text
        assert "95 % interval" in text
        keep(browser, "site-phone-open")
        browser.execute_script("scrollTo(0, 0)")
        browser.find_element("id", "clear").click()
        wait_until(lambda: not browser.find_elements("css selector", "#classes li"))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        served.start()


def touch(browser, points):
    """A finger's stroke over the paper, in px from its corner; the finger stays down."""
    box = browser.find_element("id", "paper").rect
    touches = [{"x": box["x"] + x, "y": box["y"] + y} for x, y in points]
    kinds = ["touchStart", *["touchMove"] * (len(points) - 1)]
    for kind, place in zip(kinds, touches, strict=True):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})


def lift(browser):
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


# What the page asks of the worker from now on, and what it shows, as percent by class.
LISTEN = """
window.asked = []; window.whole = recognise;
recognise = (strokes, isQuick = false) => { asked.push(isQuick); return whole(strokes, isQuick); };
isSlow = true;
"""
SHOWN = """
return [...document.querySelectorAll("#classes li")].map((item) =>
  [item.querySelector(".name").textContent, Number(item.querySelector(".number").textContent.replace(" %", ""))]);
"""
OF_DRAWN = "async (isQuick) => { const p = await whole(drawnStrokes(), isQuick); return p; }"


@needs_browser
def test_where_three_sizes_are_slow_one_answers_while_the_pen_is_down(browser, run, served):
    model, drawings = load_classifier(run.path), make_drawings(20)
    names, one_size = model.class_names, classify_strokes(replace(model, extent_range=()), drawings)
    assert np.abs(one_size - classify_strokes(model, drawings)).max() > 1e-2, "which are other answers"
    browser.get(served.address)
    browser.set_script_timeout(60)
    wait_until(lambda: READY in note_of(browser))
    plain = [[stroke.tolist() for stroke in strokes] for strokes in drawings]
    answers = ask(browser, ASK_ALL, plain, True)
    assert np.abs(np.array(answers) - one_size).max() < 1e-3

    def is_shown(probabilities):
        shown = browser.execute_script(SHOWN)
        return len(shown) == 5 and all(abs(p - 100 * probabilities[names.index(name)]) < 0.06 for name, p in shown)

    browser.execute_script(LISTEN)
    touch(browser, [(80, 300), (180, 120), (280, 300), (80, 290), (150, 240)])
    wait_until(lambda: browser.execute_script("return !isAsking && asked.length > 0"))
    assert set(browser.execute_script("return asked")) == {True}, "of one size"
    quick, whole = ask(browser, OF_DRAWN, True), ask(browser, OF_DRAWN, False)
    assert is_shown(quick)
    lift(browser)
    wait_until(lambda: browser.execute_script("return !isAsking && asked.at(-1) === false"))
    assert is_shown(whole), "the whole one once the pen was lifted"


@pytest.mark.skipif(FIREFOX is None, reason="firefox is not installed")
def test_firefox_gives_the_same_answers_while_a_finger_draws_and_offline(run, served, tmp_path):
    pytest.importorskip("websocket", reason="the package websocket-client is not installed")
    model, drawings = load_classifier(run.path), make_drawings(30)
    plain = json.dumps([[stroke.tolist() for stroke in strokes] for strokes in drawings])
    with Firefox(tmp_path / "profile", 390, 844) as firefox:
        firefox.open(served.address)
        note, number = "document.getElementById('note').textContent", "document.querySelectorAll('#classes li').length"
        wait_until(lambda: READY in firefox.value(note))
        answers = firefox.value(f"({ASK_ALL})({plain}, false)")
        assert np.abs(np.array(answers) - classify_strokes(model, drawings)).max() < 1e-3
        served.stop()
        try:
            firefox.open(served.address)  # nobody answers there any more
            wait_until(lambda: READY in firefox.value(note))
        finally:
            served.start()
        firefox.touch("paper", [(80, 300), (180, 120), (280, 300), (80, 300)])
        wait_until(lambda: firefox.value(number) == 5)
        assert firefox.value("current !== null"), "the finger is still down"
        firefox.lift()
        wait_until(lambda: firefox.value("current === null && !isAsking"))
        assert firefox.value(number) == 5
        assert firefox.value("document.documentElement.scrollWidth") <= 390


@needs_browser
def test_opened_from_the_disk_it_says_what_to_do(browser, run):
    browser.get((run.best / "site" / "index.html").as_uri())
    assert "python -m http.server" in note_of(browser)
    assert browser.execute_script("return document.querySelectorAll('#known li').length") == 6
    assert json.loads(browser.execute_script("return document.getElementById('about').textContent"))["image_px"] == 32
