"""Measurements, side by side, each with its result file in results/."""

import sys
from types import TracebackType


def name_the_extra(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one line how a missing package is installed; everything else is shown as Python shows it.

    All that benchmarks need beside the program is in the extra `bench`.
    """
    name = str(error.name).partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name in ("", "None", "benchmarks", "tests", "tune_sketch"):
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: this needs {name}: pip install '.[bench]'", file=sys.stderr)


sys.excepthook = name_the_extra
