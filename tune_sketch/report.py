"""Writes the report on one or several runs: python -m tune_sketch.report RUN [RUN ...]."""

import sys

from tune_sketch.analysis.report import main

if __name__ == "__main__":
    sys.exit(main())
