"""Looks at the reports of a small, a middle and a large run in a browser: what is cut off, how large, how slow.

    python -m benchmarks.report_pages [small middle large] [--keep FOLDER]

Curves and predictions are made up; sampler, scheduler, journal and report are the real ones. Without names it looks at
all three and writes the result. --keep keeps the runs and the pictures of the pages, to be looked at.
"""

import argparse
import base64
import contextlib
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import result_path, write_result
from tests.support.browser import CHROMEDRIVER, CHROMIUM, start_browser
from tests.support.fake_runs import add_retrainings, begin_run, make_metrics
from tests.support.untrained import make_job
from tune_sketch.analysis.report import write_report
from tune_sketch.backend.simulated import Curve, SimulatedBackend
from tune_sketch.data.doodles import CATEGORIES, render_doodle
from tune_sketch.data.quickdraw_classes import QUICKDRAW_CLASSES
from tune_sketch.events import EpochReport, Report, Source, Trial, Verdict, Worker
from tune_sketch.samplers import SAMPLERS
from tune_sketch.samplers.base import SearchTask
from tune_sketch.schedulers.asha import ASHA
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.search_spaces import SPACES, SpaceLimits, paper_configuration, recipe_configuration
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import write_csv
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.tables import write_tables

RUNS = {  # name -> (model, classes, trials, epochs at most)
    "small": ("baseline", 6, 16, 27),
    "middle": ("squeezenet1_1", 125, 50, 50),
    "large": ("squeezenet1_1", 344, 200, 50),
}
PER_CLASS = 12
NUM_WORKERS = 4
WIDTHS_PX = {"desktop": 1280, "phone": 390}
MOST_MEGABYTES, MOST_SECONDS = 8.0, 120.0  # of the large run's page, and of a core's time to write it

# What a reader would call broken, as sentences. A table or figure may scroll in its box only where that is said.
LOOK = """
const found = [], width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) found.push("the page itself scrolls sideways");
const name = (e) => e.closest(".item")?.querySelector("h3")?.textContent ?? e.className;
for (const box of document.querySelectorAll(".scroll")) {
  const side = box.getBoundingClientRect();
  if (side.left < -0.5 || side.right > width + 0.5) found.push(`${name(box)}: its box leaves the window`);
  if (box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).backgroundAttachment.indexOf("local") < 0)
    found.push(`${name(box)}: cut off without a word`);
  const figure = box.querySelector("img");
  if (width > 1000 && figure && box.scrollWidth > box.clientWidth + 1) found.push(`${name(box)}: a figure is cut off`);
}
for (const svg of document.querySelectorAll("svg.parallel")) {
  if (width > 1000 && svg.parentElement.scrollWidth > svg.parentElement.clientWidth + 1)
    found.push("parallel coordinates: the last axes are cut off");
  const titles = [...svg.querySelectorAll(".title")].map((e) => e.getBoundingClientRect());
  titles.forEach((a, i) => titles.slice(i + 1).forEach((b) => {
    if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) found.push("axis names overlap");
  }));
  const own = svg.getBoundingClientRect();
  for (const text of svg.querySelectorAll("text")) {
    const box = text.getBoundingClientRect();
    if (box.left < own.left - 0.5 || box.right > own.right + 0.5)
      found.push(`axis text is cut off: ${text.textContent}`);
  }
}
for (const table of document.querySelectorAll("table")) for (const cell of table.querySelectorAll("td, th"))
  if (cell.scrollWidth > cell.clientWidth + 1) found.push(`${name(table)}: a cell is cut off: ${cell.textContent}`);
return [...new Set(found)];
"""
# The page in parts that can be looked at.
PARTS = """
return [...document.querySelectorAll("header, article > section")].flatMap((part) => {
  const box = part.getBoundingClientRect(), most = 3000, parts = [];
  for (let y = 0; y < box.height; y += most)
    parts.push({x: 0, y: box.top + scrollY + y, width: innerWidth, height: Math.min(most, box.height - y)});
  return parts;
});
"""


def make_folder(root: Path, num_classes: int) -> Path:
    """An image folder of synthetic drawings, with a number of classes named as in Quick, Draw!."""
    kinds = list(CATEGORIES)
    for index, name in enumerate(QUICKDRAW_CLASSES[:num_classes]):
        (root / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            ink = render_doodle(kinds[index % len(kinds)], number, seed=index, image_px=32, pen_width_px=1.5)
            Image.fromarray(255 - ink).save(root / name / f"{number}.png")
    return root


def make_curve(config: Any, seed: int, length: int) -> Curve:
    """A made-up learning curve that depends on the configuration: best are a rate of 1e-3.3 and little decay."""
    rng = np.random.default_rng(seed)
    quality = 0.75 - 0.13 * abs(math.log10(config["learning_rate"]) + 3.3) - 0.05 * (config["optimizer"] == "rmsprop")
    quality = max(0.02, quality + 0.03 * rng.normal())
    pace = rng.uniform(4, 9)
    numbers = np.arange(1, length + 1)
    values = np.clip(quality * (1 - np.exp(-numbers / pace)) + 0.008 * rng.normal(size=length), 0.001, 0.99)
    seconds = [float(rng.uniform(8, 30))] * length
    return Curve(values.tolist(), (4 * (1 - values)).tolist(), seconds)


def search(run: RunDirectory, journal: Journal) -> None:
    """A whole search by the real sampler and ASHA on made-up curves, with several workers and a simulated clock."""
    settings = read_facts(run).settings
    limits, num_epochs = SpaceLimits(settings.max_epochs, pretrained=False), settings.max_epochs
    backend = SimulatedBackend(lambda job: make_curve(job.config, job.seed, num_epochs), NUM_WORKERS)
    begun = time.time() - 86400
    journal.clock = lambda: begun + backend.now
    first = [(paper_configuration(settings.model, limits), Source("paper"))]
    first.append((recipe_configuration(settings.model, limits), Source("recipe")))
    space = SPACES[settings.model].space
    task = SearchTask(space, limits, settings.rungs, settings.num_samples, seed=0, first=first)
    sampler = SAMPLERS[settings.strategy](task)

    def propose() -> Trial | None:
        proposal = sampler.next(journal)
        return None if proposal is None else journal.add_trial(proposal, seed=len(journal.trials))

    recorder = Recorder(
        journal, TrialQueue(journal, [], propose, make_job), ASHA(settings.rungs, settings.reduction_factor)
    )
    slots: dict[str, int] = {}  # training -> the slot that it trains at

    def on_report(key: str, report: Report) -> Verdict:
        assert isinstance(report, EpochReport)
        trial = journal.find(key)
        metrics = make_metrics(report.number, 0.5, trial) | report.metrics
        metrics |= {"val_top5": min(1.0, report.metrics["val_top1"] + 0.15), "raw_val_top1": report.metrics["val_top1"]}
        if key not in slots:
            slots[key] = min(set(range(NUM_WORKERS)) - set(slots.values()))
        slot = slots[key]
        answer = recorder(key, EpochReport(report.number, metrics, Worker("127.0.0.1", 100 + slot), report.number))
        if answer == "stop":
            del slots[key]
        return answer

    backend.simulate(recorder.queue, on_report)


def make_run(name: str, folder: Path) -> RunDirectory:
    """A finished run of this size."""
    model, num_classes, num_trials, max_epochs = RUNS[name]
    data = make_folder(folder / f"{name}-drawings", num_classes)
    choices = {"data": str(data), "classes": None, "per_class": None}
    run, journal = begin_run(
        folder / name, model=model, num_samples=num_trials, max_epochs=max_epochs, grace_epochs=3, **choices
    )
    clock = journal.clock
    search(run, journal)
    journal.clock = clock
    add_retrainings(run, journal)
    write_tables(run, journal)
    journal.close()
    return run


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator[Any]:
    """A headless Chromium, or None where there is none."""
    if CHROMIUM is None or CHROMEDRIVER is None:
        print("chromium and chromedriver are not installed: the pages are written, and nobody looks at them")
        yield None
        return
    browser = start_browser(folder)
    try:
        yield browser
    finally:
        browser.quit()


def look(browser: Any, page: Path, kept: Path | None) -> dict[str, list[str]]:
    """{width: what is broken there}; pictures of the whole page at each width go to `kept`."""
    found = {}
    for title, width in WIDTHS_PX.items():
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(page.as_uri())
        browser.execute_script("for (const image of document.images) image.loading = 'eager'")
        end = time.monotonic() + 60
        while not browser.execute_script("return [...document.images].every((image) => image.complete)"):
            assert time.monotonic() < end, "the pictures do not come"
            time.sleep(0.1)
        found[title] = browser.execute_script(LOOK)
        if kept is not None:
            for index, part in enumerate(browser.execute_script(PARTS)):
                clip = {**part, "scale": 1}
                taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
                (kept / f"{page.parent.name}-{title}-{index}.png").write_bytes(base64.b64decode(taken["data"]))
    return found


def main() -> int:
    """Make the runs, write and look at their reports; 1 when anything is broken or over its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"some of {', '.join(RUNS)} (writes no result then)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where runs and pictures are kept")
    arguments = parser.parse_args()
    if unknown := set(arguments.runs) - set(RUNS):
        parser.error(f"known runs are {', '.join(RUNS)}, got {', '.join(sorted(unknown))}")
    names, rows, lines = arguments.runs or list(RUNS), [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with open_browser(Path(temporary) / "browser") as browser:
            for name in names:
                run = RunDirectory(folder / name) if (folder / name).exists() else make_run(name, folder)
                wall, core = time.perf_counter(), time.process_time()
                page = write_report([run.path], run.report_html)
                row: dict[str, Any] = {"run": name, "classes": RUNS[name][1], "trials": RUNS[name][2]}
                row |= {"wall_seconds": time.perf_counter() - wall, "core_seconds": time.process_time() - core}
                row["megabytes"] = page.stat().st_size / 1e6
                found = look(browser, page, arguments.keep) if browser is not None else {}
                row["faults"] = sum(map(len, found.values())) if found else None
                lines += [f"{name}, {title}: {what}" for title, some in found.items() for what in some]
                rows.append(row)
    table = [
        "| run | classes | trials | page (MB) | to write (s) | of a core (s) | faults at 1280 and 390 px |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        faults = "not looked at" if row["faults"] is None else row["faults"]
        table.append(
            f"| {row['run']} | {row['classes']} | {row['trials']} | {row['megabytes']:.1f} | "
            f"{row['wall_seconds']:.0f} | {row['core_seconds']:.0f} | {faults} |"
        )
    table += ["", f"Limits: {MOST_MEGABYTES:g} MB, {MOST_SECONDS:g} s of a core, no fault."]
    if not arguments.runs:
        write_result("report_pages", "The report's page", table)
        write_csv(result_path("report_pages", ".csv"), rows[0], rows)
    print("\n".join([*lines, *table]))
    over = [row for row in rows if row["megabytes"] > MOST_MEGABYTES or row["core_seconds"] > MOST_SECONDS]
    return int(bool(lines or over))


if __name__ == "__main__":
    sys.exit(main())
