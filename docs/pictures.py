"""Makes the pictures of README and docs from a real search, in a headless browser.

    python docs/pictures.py [--run RUN] [--total-time 15m]

Without --run it searches first: with ../shared/data on twenty classes of Sketchy's drawings and Quick, Draw!'s strokes
together, from ImageNet weights (benchmarks/real_weights.py), else on doodles. The drawing on the drawing page is one
that the search was not given, and the same one each time. The fourth picture, of the exported page at a phone's size,
writes best/site/ of the run. Needs `.[test,onnx]`, npm, and chromium with its driver.
"""

import argparse
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tune_sketch.data.doodles import draw_doodle
from tune_sketch.data.strokes import render_strokes

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
SKETCHY, QUICKDRAW = SHARED / "sketchy-125x25", SHARED / "quickdraw-344x25-simplified"
CLASSES = (
    *("airplane", "banana", "bicycle", "butterfly", "candle", "castle", "cat", "fish", "guitar", "mushroom"),
    *("pineapple", "sailboat", "scissors", "snail", "spider", "sword", "teapot", "tree", "umbrella", "windmill"),
)
MOST_BYTES = 140_000  # of a picture: README's are fetched with it
DRAWN = "sailboat"  # on the drawing page: Quick, Draw!'s last one, which is kept back
UNSEEN_DOODLE = 10_000  # its number: a search draws far fewer


def write_drawings(folder: Path) -> None:
    """Write Sketchy's drawings of the classes and Quick, Draw!'s strokes but the last, as PNG in class folders."""
    for name in CLASSES:
        shutil.copytree(SKETCHY / name, folder / name)
        for number, strokes in enumerate(read_strokes(name)[:-1], start=1):
            Image.fromarray(255 - render_strokes(strokes, 256)).save(folder / name / f"quickdraw_{number}.png")


def read_strokes(name: str) -> list[list[np.ndarray]]:
    """Quick, Draw!'s drawings of a class: for each its strokes, float [num_points, 2], from 0 to 255."""
    lines = (QUICKDRAW / f"{name}.ndjson").read_text(encoding="utf-8").splitlines()
    return [[np.array(stroke[:2], float).T for stroke in json.loads(line)["drawing"]] for line in lines]


def search(folder: Path, total_time: str) -> Path:
    """A real search; returns its run directory. Its own screen is the program's."""
    command = [sys.executable, "-m", "tune_sketch.search", "--name", "pictures", "--total-time", total_time]
    if SKETCHY.is_dir() and QUICKDRAW.is_dir():
        from benchmarks.real_weights import write_squeezenet

        write_drawings(folder / "drawings")
        write_squeezenet(folder / "squeezenet1_1.pth")
        command += ["--model", "squeezenet1_1", "--weights", "squeezenet1_1.pth", "--data", "drawings"]
        command += ["--image-px", "64", "--protocol", "small", "--num-samples", "80", "--max-epochs", "12"]
    else:
        print(f"{SHARED} lacks the drawings: the pictures are of doodles")
        command += ["--model", "baseline", "--image-px", "64", "--num-samples", "80", "--max-epochs", "12"]
    subprocess.run(command, check=True, cwd=folder)
    return folder / "runs" / "pictures"


def drawing_for(class_names: list[str]) -> list[np.ndarray]:
    """Strokes in [0, 1] of a drawing that the search has not seen."""
    if DRAWN in class_names and QUICKDRAW.is_dir():
        return [0.15 + 0.7 * stroke / 255 for stroke in read_strokes(DRAWN)[-1]]
    return draw_doodle(class_names[0], UNSEEN_DOODLE, seed=0)


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator["Chrome"]:
    """Chromium without a window, in the light, at two device pixels per pixel."""
    from tests.support.browser import CHROMEDRIVER, CHROMIUM, start_browser

    if not (CHROMIUM and CHROMEDRIVER):
        sys.exit("error: the pictures need chromium and chromedriver")
    browser = start_browser(folder, "hide-scrollbars", "disable-sync")
    try:
        yield browser
    finally:
        browser.quit()


def resize(browser: "Chrome", width: int, height: int, *, mobile: bool = False) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@contextlib.contextmanager
def serve(*command: str) -> Iterator[str]:
    """The address of a server that runs meanwhile, as it prints it."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if address := re.search(r"http://[\w.]+:\d+/", line):
                yield address[0]
                break
        else:
            sys.exit(f"error: {' '.join(command)} has ended")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def save(browser: "Chrome", path: Path, width_px: int, left: float = 0) -> None:
    """The page as it is shown, as WebP. left: the fraction of its width that is cut off at the left."""
    image = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    image = image.crop((round(left * image.width), 0, image.width, image.height))
    image.thumbnail((width_px, 10 * width_px), Image.Resampling.LANCZOS)
    for quality in range(82, 40, -6):
        image.save(path, quality=quality, method=6)
        if path.stat().st_size < MOST_BYTES:
            break
    print(f"{path}  {image.width} x {image.height} px, {path.stat().st_size / 1000:.0f} kB")


def show_report(browser: "Chrome", run: Path, pictures: Path) -> None:
    resize(browser, 1100, 860)
    browser.get((run / "report.html").as_uri())
    time.sleep(1)
    save(browser, pictures / "report.webp", 1400)


def show_tensorboard(browser: "Chrome", run: Path, pictures: Path) -> None:
    """The parallel coordinates of all trials, once they are drawn."""
    resize(browser, 1400, 600)
    with serve("tensorboard.main", "--logdir", str(run / "tensorboard"), "--host", "127.0.0.1", "--port", "0") as at:
        browser.get(at + "#hparams")
        click = """const walk = (node) => {
             if ([...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim().toUpperCase() === title)) {
               node.click(); return true; }
             if (node.shadowRoot && walk(node.shadowRoot)) return true;
             return [...node.children].some(walk); };
           const title = arguments[0]; return walk(document.body);"""
        wait_until(lambda: browser.execute_script(click, "PARALLEL COORDINATES VIEW"), 120)
        time.sleep(8)
        save(browser, pictures / "tensorboard.webp", 1400, left=285 / 1400)  # without the column of settings


def show_drawing_page(browser: "Chrome", run: Path, pictures: Path) -> None:
    """Draw with the mouse, and wait until the answer is there."""
    resize(browser, 860, 560)
    with serve("tune_sketch.draw", str(run), "--port", "0") as address:
        browser.get(address)
        draw(browser, run)
        time.sleep(3)  # the answer to the last stroke
        save(browser, pictures / "draw.webp", 1100)


def show_site(browser: "Chrome", run: Path, pictures: Path) -> None:
    """Draw on the exported page in a phone's window."""
    subprocess.run([sys.executable, "-m", "tune_sketch.export", str(run), "--to", "site"], check=True, cwd=ROOT)
    resize(browser, 390, 844, mobile=True)
    folder = str(run / "best" / "site")
    with serve("http.server", "0", "--bind", "127.0.0.1", "--directory", folder) as address:
        browser.get(address)
        wait_until(lambda: browser.execute_script("return isReady"), 120)
        draw(browser, run)
        wait_until(lambda: browser.execute_script("return current === null && !isAsking"), 60)
        save(browser, pictures / "phone.webp", 585)


def draw(browser: "Chrome", run: Path) -> None:
    """Draw on the paper of a page with the mouse, until there are answers."""
    from selenium.webdriver import ActionChains

    class_names = json.loads((run / "best" / "model.json").read_text(encoding="utf-8"))["class_names"]
    paper = browser.find_element("id", "paper")
    side = paper.size["width"]
    for stroke in drawing_for(class_names):
        points = np.rint((stroke - 0.5) * side).astype(int).tolist()
        actions = ActionChains(browser, duration=20).move_to_element_with_offset(paper, *points[0]).click_and_hold()
        for point in points[1:]:
            actions.move_to_element_with_offset(paper, *point)
        actions.release().perform()
    wait_until(lambda: browser.find_elements("css selector", "#classes li"), 60)


def wait_until(check, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            sys.exit(f"error: the browser did not show it within {seconds} s")
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a finished run, in place of a search")
    parser.add_argument("--total-time", default="15m", help="of the search")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "pictures", help="folder to write to")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # for benchmarks/ and tests/support/
    arguments.pictures.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as name:
        folder = Path(name)
        run = arguments.run.resolve() if arguments.run else search(folder, arguments.total_time)
        for needed in (run / "report.html", run / "tensorboard", run / "best" / "model.json"):
            if not needed.exists():
                sys.exit(f"error: {run} is not finished: it has no {needed.name}")
        with open_browser(folder / "browser") as browser:
            for show in (show_report, show_tensorboard, show_drawing_page, show_site):
                show(browser, run, arguments.pictures)


if __name__ == "__main__":
    main()
