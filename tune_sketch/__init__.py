"""Finds the best way to train a classifier of free-hand sketches, with evidence that can be published."""

import importlib
import itertools
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune_sketch.api import Run, open_run, search
    from tune_sketch.config.settings import Settings
    from tune_sketch.config.several import settings_of_networks
    from tune_sketch.extensions import extend

__version__ = "0.2.0"
__all__ = ["Run", "Settings", "__version__", "extend", "open_run", "search", "settings_of_networks"]

_HOMES = {
    "Run": "api",
    "open_run": "api",
    "search": "api",
    "Settings": "config.settings",
    "settings_of_networks": "config.several",
    "extend": "extensions",
}


def __getattr__(name: str) -> Any:
    """The Python interface, imported when it is asked for: commands do without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def _is_command() -> bool:
    """Whether Python was started as `python -m tune_sketch...`."""
    return any(flag == "-m" and name.split(".")[0] == __name__ for flag, name in itertools.pairwise(sys.orig_argv))


if sys.platform == "win32":
    _REFUSAL = "tune_sketch runs on Linux and macOS, not on Windows: use the Windows Subsystem for Linux"
    if _is_command() or os.path.basename(sys.argv[0]).startswith("tune-sketch"):
        print(f"error: {_REFUSAL}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(_REFUSAL)

if _is_command() and not os.path.isdir(os.path.join(os.getcwd(), "tune_sketch")):
    # `python -m` looks for modules in the working folder first: a user's own random.py or utils.py there is not for us.
    sys.path[:] = [path for path in sys.path if path and os.path.abspath(path) != os.getcwd()]

if os.environ.get("TUNE_SKETCH_EXTENSIONS"):  # last, so that they may import any part of the package
    importlib.import_module(f"{__name__}.extensions").import_from_environment()
