"""Runs a command by name: tune-sketch search --model resnet50, tune-sketch status RUN, ..."""

import importlib
import sys

from tune_sketch.config.checks import check_known

COMMANDS = {
    "search": "tune_sketch.search",
    "status": "tune_sketch.status",
    "explain": "tune_sketch.explain",
    "confirm": "tune_sketch.confirm",
    "report": "tune_sketch.report",
    "predict": "tune_sketch.predict",
    "draw": "tune_sketch.draw",
    "export": "tune_sketch.export",
    "data": "tune_sketch.data.__main__",
}


def main(argv: list[str] | None = None) -> int:
    """The command `tune-sketch`. Exit code 2 for an unknown name, else the command's own."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: tune-sketch COMMAND ...\n\ncommands:")
        for command, module in COMMANDS.items():
            print(f"  {command:<9} {(importlib.import_module(module).__doc__ or '').splitlines()[0]}")
        return 0
    try:
        check_known("command", name, COMMANDS)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    code: int = importlib.import_module(COMMANDS[name]).main(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
