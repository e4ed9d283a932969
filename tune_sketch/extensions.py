"""Imports a user's own networks, data sets and strategies, in every process of a search."""

import importlib.util
import os
import sys
from pathlib import Path

VARIABLE = "TUNE_SKETCH_EXTENSIONS"


def extend(*files: str | Path) -> None:
    """Import Python files, here and in every process that this one starts, such as the trainings of a search.

    A file adds its parts to the tables by name, as `ARCHITECTURES["mine"] = ...`; docs/extensions.md lists them. The
    environment's TUNE_SKETCH_EXTENSIONS, paths with ":" between them, does the same for commands. Raises ValueError
    for a file that cannot be imported.
    """
    paths = [str(Path(file).expanduser().resolve()) for file in files]
    kept = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys([*kept, *paths]))
    for path in paths:
        import_file(Path(path))


def import_file(path: Path) -> None:
    """Import a file once, under a name that no module of ours or of the user's has."""
    name = f"tune_sketch_extension_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return
    if known is not None:
        raise ValueError(
            f"TUNE_SKETCH_EXTENSIONS: two files have the same name, {known.__file__} and {path}: rename one"
        )
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"TUNE_SKETCH_EXTENSIONS must name Python files, got {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def import_from_environment() -> None:
    """Import what the environment names. In a command a mistake there is a message, and no traceback."""
    named = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    try:
        if named:
            extend(*named)
    except ValueError as error:
        sys.exit(f"error: {error}")
