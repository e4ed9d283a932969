"""Measures everything about a GPU within a given time, the most valuable first.

    python -m benchmarks.gpu [--minutes 9] [--only NAME ...]     needs torch, torchvision, numpy and Pillow alone
    python -m benchmarks.gpu --rehearse                          the same lines in small, on a CPU too
    python -m benchmarks.gpu --prepare [FOLDER]                  before: drawings, weights and timm as one small file

Every number is written as soon as it is there, so that the command may be stopped at any time.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gpu.context import CARD, REHEARSAL
from benchmarks.gpu.inputs import PREPARED, SKETCHY, prepare
from benchmarks.gpu.runner import PARTS, measure
from benchmarks.machine import RESULTS


def main() -> int:
    """Run the parts, print the ratios; 1 when a target is missed or something failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=float, default=9.0, help="all that begins ends within them (default 9)")
    add("--only", nargs="+", choices=PARTS, default=PARTS, metavar="NAME", help=", ".join(PARTS))
    add("--rehearse", action="store_true", help="small sizes on this machine; results go to a temporary folder")
    add("--prepare", nargs="?", const=str(SKETCHY), metavar="FOLDER", help="write the file, measure nothing")
    add("--inputs", type=Path, default=PREPARED, help="the prepared file (default: %(default)s)")
    add("--results", type=Path, help="where the results go (default: benchmarks/results)")
    arguments = parser.parse_args()
    if not 0 < arguments.minutes < float("inf"):
        parser.error(f"--minutes must be above 0, got {arguments.minutes}")
    if arguments.prepare:
        try:
            path = prepare(arguments.prepare, arguments.inputs)
        except ValueError as error:
            parser.error(str(error))
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
        return 0
    sizes = REHEARSAL if arguments.rehearse else CARD
    results = arguments.results or (Path(tempfile.mkdtemp(prefix="rehearsal-")) if arguments.rehearse else RESULTS)
    return measure(arguments.only, sizes, arguments.inputs, results, time.monotonic() + 60 * arguments.minutes)


if __name__ == "__main__":
    sys.exit(main())
