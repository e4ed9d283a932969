"""A person's view in a real browser: report, TensorBoard's comparison of trials, drawing page, Optuna's dashboard."""

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.browser import keep, wait_until
from tests.support.fake_runs import add_trials, begin_run, make_finished_run
from tests.support.needs_browser import needs_browser
from tune_sketch.analysis.report import write_report
from tune_sketch.callbacks.tensorboard import TensorBoardLog
from tune_sketch.storage.files import read_csv

pytestmark = [pytest.mark.real, needs_browser]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("browsed") / "run", num_trials=14)


@pytest.fixture(scope="module")
def page(run):
    """The report's address."""
    return write_report([run.path], run.report_html).as_uri()


@contextlib.contextmanager
def serving(*command):
    """Start a server of our own, give its address once it answers, and end it with all its children."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        seen, address = "", None
        while address is None:
            line = process.stdout.readline()
            assert line, f"{command} ended: {seen}"
            seen += line
            address = re.search(r"http://[\w.]+:\d+/", line)
        wait_until(lambda: is_answering(address[0]), 60)
        yield address[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(15)
        process.stdout.close()


def is_answering(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def page_text(browser):
    """All text of the page, that inside of web components too."""
    return browser.execute_script(
        """const texts = []; const walk = (node) => {
             if (node.nodeType === 3) texts.push(node.textContent);
             if (node.shadowRoot) walk(node.shadowRoot);
             for (const child of node.childNodes) walk(child); };
           walk(document.body); return texts.join("\\n");"""
    )


def test_parallel_coordinates_in_the_report_answer(browser, run, page):
    from selenium.webdriver import ActionChains

    browser.get(page)
    svg = browser.find_element("css selector", "svg.parallel")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
    lines = browser.find_elements("css selector", "svg.parallel polyline")
    assert len(lines) == len([row for row in read_csv(run.epochs_csv) if row["epoch"] == "1"])
    brush = browser.find_elements("css selector", "svg.parallel .brush")[1]
    half = brush.rect["height"] / 2
    drag = ActionChains(browser, duration=30).move_to_element_with_offset(brush, 0, -int(half) + 3).click_and_hold()
    drag.move_by_offset(0, int(half) // 2).move_by_offset(0, int(half) // 2).release().perform()
    told = browser.find_element("css selector", ".told")
    off = browser.find_elements("css selector", "svg.parallel polyline.off")
    assert 0 < len(off) < len(lines)
    assert f"{len(lines) - len(off)} of {len(lines)} trials are kept" in told.text
    keep(browser, "report-parallel")
    ActionChains(browser).move_to_element(brush).click().perform()
    assert not browser.find_elements("css selector", "svg.parallel polyline.off")


def test_the_report(browser, page):
    browser.get(page)
    browser.execute_script("for (const i of document.images) i.loading = 'eager'")
    wait_until(lambda: browser.execute_script("return [...document.images].every((i) => i.complete)"))
    widths = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) > 15
    assert min(widths) > 100, "every figure is there"
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map((r) => r.name)")
    assert [name for name in fetched if not name.startswith("data:")] == [], "nothing is fetched"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    keep(browser, "report")
    title, column = "top\u20111 at 1", "return [...document.querySelectorAll('table.sortable tbody tr')].map("
    head = next(h for h in browser.find_elements("css selector", "table.sortable th") if h.text == title)
    place = browser.execute_script("return arguments[0].cellIndex", head)
    browser.execute_script("arguments[0].click()", head)
    values = browser.execute_script(column + f"(row) => row.cells[{place}].textContent)")
    numbers = [float(value.removesuffix(" %")) for value in values if value]
    assert numbers == sorted(numbers, reverse=True), "a click on its title sorts by a column"
    assert "" not in values[: len(numbers)], "empty cells come last"


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1400, "dark")])
def test_the_report_on_a_phone_and_in_the_dark(browser, page, width, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        browser.get(page)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, "the page itself does not scroll sideways"
        paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
        keep(browser, f"report-{width}-{scheme}")
        images = browser.execute_script(
            "return [...document.images].map((i) => [i.offsetWidth, i.parentElement.offsetWidth])"
        )
        if width < 500:
            assert all(image <= box for image, box in images), "a phone shows each figure whole"
            browser.execute_script("document.images[0].click()")
            assert browser.execute_script("return document.images[0].offsetWidth") > width, "and large after a tap"
        browser.execute_script("document.querySelectorAll('figure')[3].scrollIntoView()")
        keep(browser, f"report-{width}-{scheme}-figure")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_tensorboard_compares_the_trials_of_a_real_search(browser, searched):
    run, _ = searched
    trials, epochs = read_csv(run.trials_csv), read_csv(run.epochs_csv)
    with serving("tensorboard.main", "--logdir", str(run.tensorboard), "--host", "127.0.0.1", "--port", "0") as address:
        browser.get(address + "#hparams")
        names = {f"trial {row['trial']}" for row in trials}
        wait_until(lambda: names <= set(page_text(browser).split("\n")), 120)
        text = page_text(browser)
        for title in ("validation top-1", "validation top-5", "validation loss", "epochs trained", "seconds"):
            assert title in text, title
        shown = [float(number) for number in re.findall(r"\d+\.\d+(?:e-?\d+)?", text)]  # rounded to five digits
        for row in trials:
            last = [epoch for epoch in epochs if epoch["trial"] == row["trial"]][-1]
            values = [last[name] for name in ("val_top1", "val_top5", "val_loss")]
            for value in (*values, row["train_seconds"], row["config/learning_rate"]):
                is_shown = any(math.isclose(number, float(value), rel_tol=1e-4) for number in shown)
                assert is_shown, f"trial {row['trial']}: the table shows {value}"
            assert row["config/optimizer"] in text
        keep(browser, "tensorboard-table")
        click_tab(browser, "PARALLEL COORDINATES VIEW")
        wait_until(lambda: len(find_deep(browser, "g.foreground path", "d")) == len(trials))
        lines = find_deep(browser, "g.foreground path", "d")
        assert len(set(lines)) == len(trials)
        assert all("NaN" not in line and line.count("L") == 9 for line in lines), "over all ten axes"
        keep(browser, "tensorboard-parallel")
        click_tab(browser, "SCATTER PLOT MATRIX VIEW")
        wait_until(lambda: len(find_deep(browser, "circle", "cx")) >= 10 * len(trials))
        keep(browser, "tensorboard-scatter")


def test_tensorboard_shows_trials_that_run_or_failed(browser, tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=20)
    add_trials(run, journal, 12, failed=2, running=2)  # as after a resume: everything is written from the journal
    TensorBoardLog(run.tensorboard, journal.trials)
    with serving("tensorboard.main", "--logdir", str(run.tensorboard), "--host", "127.0.0.1", "--port", "0") as address:
        browser.get(address + "#hparams")
        names = {f"trial {record.number}" for record in journal.trials}
        wait_until(lambda: names <= set(page_text(browser).split("\n")), 120)


def click_tab(browser, title):
    """Click the first element, in any shadow root, whose own text is `title`."""
    found = wait_until(
        lambda: browser.execute_script(
            """const walk = (node) => {
                 if (node.nodeType === 1 && [...node.childNodes].some((c) => c.nodeType === 3
                     && c.textContent.trim().toUpperCase() === arguments_title)) { node.click(); return true; }
                 if (node.shadowRoot && walk(node.shadowRoot)) return true;
                 return [...node.childNodes].some(walk); };
               const arguments_title = arguments[0]; return walk(document.body);""",
            title,
        )
    )
    assert found


def find_deep(browser, selector, attribute):
    """An attribute of the elements that match, in all shadow roots."""
    return browser.execute_script(
        """const found = []; const walk = (root) => {
             for (const e of root.querySelectorAll(arguments_selector)) found.push(e.getAttribute(arguments_name));
             for (const e of root.querySelectorAll("*")) if (e.shadowRoot) walk(e.shadowRoot); };
           const [arguments_selector, arguments_name] = arguments; walk(document); return found;""",
        selector,
        attribute,
    )


def test_the_drawing_page_answers_while_one_draws(browser, searched):
    from selenium.webdriver import ActionChains

    run, _ = searched

    with serving("tune_sketch.draw", str(run.path), "--port", "0") as address:
        browser.get(address)
        paper = browser.find_element("id", "paper")
        actions = ActionChains(browser, duration=30)
        actions.move_to_element_with_offset(paper, -100, -60).click_and_hold()
        for right, down in ((200, 0), (0, 120), (-200, 0), (0, -120)):
            actions.move_by_offset(right, down)
        actions.perform()  # the button is still down: it answers while one draws
        wait_until(lambda: len(browser.find_elements("css selector", "#classes li")) == 4)  # of four classes
        ActionChains(browser).release().perform()
        overlay = browser.find_element("id", "overlay")
        wait_until(lambda: overlay.is_displayed() and overlay.get_attribute("naturalWidth") == "320")
        first = shown_classes(browser)
        assert all("%" in text for text in first)
        more = ActionChains(browser, duration=30).move_to_element_with_offset(paper, -90, 80).click_and_hold()
        more.move_by_offset(60, 60).move_by_offset(60, -60).release().perform()
        wait_until(lambda: shown_classes(browser) != first)
        keep(browser, "draw")
        answer = browser.find_element("id", "answer")
        assert answer.location["x"] >= paper.location["x"] + paper.size["width"], "beside the paper on a wide screen"
        assert paper.size["width"] == paper.size["height"] > 300
        browser.find_element("css selector", "summary").click()
        assert all(text.split("\n")[0] in answer.text.split("it knows")[1] for text in first)
        touch_stroke(browser, paper)
        browser.find_element("id", "clear").click()
        wait_until(lambda: not browser.find_elements("css selector", "#classes li"))
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def shown_classes(browser):
    return browser.execute_script("return [...document.querySelectorAll('#classes li')].map((item) => item.innerText)")


def touch_stroke(browser, paper):
    """A finger's stroke changes the drawing."""
    count = "return strokes.length"
    before, box = browser.execute_script(count), paper.rect
    points = [{"x": box["x"] + x, "y": box["y"] + 60 + x / 3} for x in (60, 90, 120, 160)]
    for kind, touched in (("touchStart", points[:1]), *(("touchMove", [p]) for p in points[1:]), ("touchEnd", [])):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
    wait_until(lambda: browser.execute_script(count) == before + 1, 10)


def test_optuna_dashboard_opens_the_study(browser, searched):
    pytest.importorskip("optuna_dashboard", reason="the extra `dashboard` is not installed")
    run, _ = searched
    command = ["-c", "from optuna_dashboard._cli import main; main()", str(run.journal_log)]
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        wait_until(lambda: is_answering(address), 60)
        browser.get(address + "dashboard/studies/1/trials")
        wait_until(lambda: "Trial 3" in page_text(browser), 60)
        keep(browser, "optuna-dashboard")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)


def free_port():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
