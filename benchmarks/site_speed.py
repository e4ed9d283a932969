"""How fast the static page recognises in a browser: SqueezeNet 1.1 with 125 classes, as `export --to site` writes it.

    python -m benchmarks.site_speed [--quick]

Untrained weights: speed does not depend on them. The page comes from a web server on this machine, into a browser
profile that has never seen it. First recognition: from the page's opening to the answer to a drawing that waits for it,
runtime and network fetched and compiled. Later ones: 60 drawings one after the other, each in three sizes, as after the
pen was lifted; and in one size, as while it draws where three take more than 100 ms.
"""

import argparse
import functools
import http.server
import os
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import describe, result_path, write_result
from tests.support.browser import start_browser
from tests.support.strokes import make_drawings
from tune_sketch.inference.model import Classifier
from tune_sketch.inference.onnx import export_onnx
from tune_sketch.inference.site import NETWORK, write_site
from tune_sketch.inference.web_runtime import PACKAGE, VERSION, find_runtime
from tune_sketch.storage.files import Row, write_csv
from tune_sketch.trainables.networks.build import build_model

MODEL, NUM_CLASSES, NUM_LATER = "squeezenet1_1", 125, 60
SIDES_PX = (64, 128, 224)
MOST_FIRST_SECONDS, MOST_LATER_MS = 2.0, 100.0
COLUMNS = (
    *("image_px", "repeat", "first_seconds", "later_ms_median", "later_ms_worst", "one_size_ms_median"),
    *("load_before", "load_after"),
)
ASK = """const done = arguments[arguments.length - 1];
(async () => {
  while (!isReady) await new Promise((resolve) => setTimeout(resolve, 5));
  const [first, ...later] = arguments[0], times = [[], []];
  await recognise(first);
  const ready = performance.now();
  for (const strokes of later) {
    for (const isQuick of [false, true]) {
      const begun = performance.now();
      await recognise(strokes, isQuick);
      times[Number(isQuick)].push(performance.now() - begun);
    }
  }
  return [ready, ...times];
})().then(done);"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Prints nothing."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def make_site(image_px: int, folder: Path) -> None:
    """The page around an untrained network."""
    torch.manual_seed(0)
    names = [f"class {number}" for number in range(NUM_CLASSES)]
    network = build_model(MODEL, NUM_CLASSES, head="normalised").eval()
    model = Classifier(network, MODEL, names, image_px, True, True, "cpu", extent_range=(0.7, 0.9))
    export_onnx(model, folder.parent / NETWORK)
    write_site(model, folder.parent / NETWORK, find_runtime(), folder, result=[], data=None, splits=None)


def measure(folder: Path, image_px: int, repeat: int, num_later: int) -> Row:
    """One visit with a new browser profile."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    row: Row = {"image_px": image_px, "repeat": repeat, "load_before": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory() as profile:
        browser = start_browser(profile)
        try:
            browser.set_script_timeout(300)
            browser.get(f"http://127.0.0.1:{server.server_address[1]}/")
            drawings = [[stroke.tolist() for stroke in strokes] for strokes in make_drawings(num_later + 1)]
            ready, times, quick_times = browser.execute_async_script(ASK, drawings)
        finally:
            browser.quit()
            server.shutdown()
    row |= {"first_seconds": round(ready / 1000, 3), "later_ms_median": round(float(np.median(times)), 1)}
    row |= {"later_ms_worst": round(max(times), 1), "one_size_ms_median": round(float(np.median(quick_times)), 1)}
    return row | {"load_after": round(os.getloadavg()[0], 2)}


def table(rows: list[Row]) -> list[str]:
    """The measurements, beside the targets."""
    lines = [
        f"{PACKAGE} {VERSION}, one thread. Targets: the first within {MOST_FIRST_SECONDS:g} s, each later one within "
        f"{MOST_LATER_MS:g} ms. Load: mean number of programs that wanted a core in the minute before and after.",
        "",
        "| image, px | visit | first recognition, s | later ones, ms: median | worst of all | in one size, ms: median "
        "| load before, after |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row[name] for name in COLUMNS[:6]]
        lines.append(f"| {' | '.join(map(str, cells))} | {row['load_before']}, {row['load_after']} |")
    return [*lines, "", *(f"Missed: {line}." for line in missed(rows) or ["none"])]


def missed(rows: list[Row]) -> list[str]:
    """Targets that were missed, for each size of drawings: by the median over visits, and by the worst answer."""
    told = []
    for side in SIDES_PX:
        own = [row for row in rows if row["image_px"] == side]
        for what, worst, most, unit in (
            ("first recognition, median", np.median([row["first_seconds"] for row in own]), MOST_FIRST_SECONDS, "s"),
            ("later one, median", np.median([row["later_ms_median"] for row in own]), MOST_LATER_MS, "ms"),
            ("later one, worst", max(row["later_ms_worst"] for row in own), MOST_LATER_MS, "ms"),
        ):
            if not worst <= most:
                told.append(f"{side} px, {what}: {worst:g} {unit}, target {most:g} {unit}")
    return told


def main() -> int:
    """Measure and write; 1 where a median over visits, or the worst answer, misses its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one visit, few drawings; writes no file")
    quick = parser.parse_args().quick
    rows: list[Row] = []
    for image_px in SIDES_PX:
        with tempfile.TemporaryDirectory() as folder:
            make_site(image_px, Path(folder) / "site")
            for repeat in range(1, 2 if quick else 4):
                rows.append(measure(Path(folder) / "site", image_px, repeat, 10 if quick else NUM_LATER))
                print(rows[-1], flush=True)
    lines = table(rows)
    print("\n".join(lines))
    if not quick:
        write_csv(result_path("site_speed", ".csv"), COLUMNS, rows)
        write_result("site_speed", "Recognising in the visitor's browser", lines)
    return int(bool(missed(rows)))


if __name__ == "__main__":
    print(describe(), flush=True)
    sys.exit(main())
