"""Writes the report of a search that is at work, for live_report.py: python -m tune_sketch.analysis.draft RUN.

The URL of the record's database comes through standard input, where others cannot read it.
"""

import sys
from pathlib import Path

from tune_sketch.analysis.report import write_report


def main() -> None:
    """Write it into the run directory."""
    run, storage = Path(sys.argv[1]), sys.stdin.read() or None
    write_report([run], run / "report.html", storage)


if __name__ == "__main__":
    main()
