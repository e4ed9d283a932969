"""Writes the report, one self-contained page about one or several runs: python -m tune_sketch.report RUN [RUN ...]."""

import argparse
import datetime
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tune_sketch.analysis.comparison import state_comparison, warn_comparison
from tune_sketch.analysis.figures.base import ShownFigure, write_figures
from tune_sketch.analysis.figures.registry import FIGURES, FIGURES_OF_RUNS
from tune_sketch.analysis.rows import write_rows
from tune_sketch.analysis.run_data import RunData, read_run
from tune_sketch.analysis.tables.base import ShownTable, write_tables
from tune_sketch.analysis.tables.registry import TABLES, TABLES_OF_RUNS
from tune_sketch.analysis.verdict import state_result, tabulate_verdict, warn
from tune_sketch.storage.files import write_text
from tune_sketch.storage.history import JournalError

PAGE = Path(__file__).parent / "page"
Item = ShownTable | ShownFigure
SECTIONS = {  # in the order of the page; within one, tables come before figures
    "result": "Result",
    "data": "Data",
    "search": "Search",
    "classes": "Classes and errors",
    "look": "Where the network looks",
    "cost": "Costs",
    "settings": "Settings and versions",
}


@dataclass(frozen=True)
class Section:
    """Tables and figures under one heading."""

    id: str
    title: str
    items: list[Item]


@dataclass(frozen=True)
class Chapter:
    """The part of the page about one run, or about all of them together."""

    id: str
    title: str
    verdict: list[str]
    warnings: list[str]
    sources: list[str]  # files with the verdict's numbers
    sections: list[Section]


def write_report(runs: Sequence[Path], path: Path, storage: str | None = None) -> Path:
    """Write the report on `runs` to `path`, and each figure as PNG and CSV into figures/ beside it.

    A run may be in any state: what is not there yet is left out. storage: the URL of the runs' database, if it needs a
    password. Raises ValueError for a folder that is no run directory, JournalError when a record cannot be read.
    """
    if not runs:
        raise ValueError("a report needs at least one run directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    read = [read_run(Path(run), storage) for run in runs]
    folder = path.parent / "figures"
    chapters = []
    if len(read) > 1:
        chapters.append(compare_runs(read, folder, path.parent))
    for place, run in enumerate(read, start=1):
        own_folder = folder / f"{place:02d}-{run.name}" if len(read) > 1 else folder
        chapters.append(describe_run(run, own_folder, path.parent, f"run{place}"))
    names = ", ".join(run.name for run in read)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string((PAGE / "report.html").read_text(encoding="utf-8")).render(
        title=f"{', '.join(dict.fromkeys(run.settings.model for run in read))}: sketch classification",
        subtitle=f"{names}; written {datetime.datetime.now():%Y-%m-%d %H:%M}",
        chapters=chapters,
        footer="Every number on this page is in the named files beside it. Intervals are 95 %.",
        css=Markup((PAGE / "report.css").read_text(encoding="utf-8")),
        script=Markup((PAGE / "report.js").read_text(encoding="utf-8")),
    )
    write_text(path, page)
    return path


def describe_run(run: RunData, folder: Path, relative_to: Path, identifier: str) -> Chapter:
    """The chapter on one run."""
    tables = write_tables(TABLES, run, folder, relative_to)
    items: list[Item] = [*tables, *write_figures(FIGURES, run, folder, relative_to)]
    found = [Section(name, title, [item for item in items if item.section == name]) for name, title in SECTIONS.items()]
    sections = [section for section in found if section.items]
    path = folder / "verdict.csv"
    write_rows(path, tabulate_verdict(run))
    sources = [path.relative_to(relative_to).as_posix()]
    return Chapter(identifier, f"{run.settings.model}: {run.name}", state_result(run), warn(run), sources, sections)


def compare_runs(runs: Sequence[RunData], folder: Path, relative_to: Path) -> Chapter:
    """The chapter that compares several runs, the way the paper compares its models."""
    tables = write_tables(TABLES_OF_RUNS, runs, folder, relative_to)
    items: list[Item] = [*tables[:1], *write_figures(FIGURES_OF_RUNS, runs, folder, relative_to), *tables[1:]]
    sources = [item.csv for item in items if item.name in ("models", "mcnemar")]
    sections = [Section("result", "Comparison", items)]
    return Chapter("all", "All runs", state_comparison(runs), warn_comparison(runs), sources, sections)


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tune_sketch.report", description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a run directory, in whatever state")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the run directory, or here")
    parser.add_argument("--storage", metavar="URL", help="the database of the record, if it needs a password")
    arguments = parser.parse_args(argv)
    default = arguments.runs[0] / "report.html" if len(arguments.runs) == 1 else Path("report.html")
    try:
        print(write_report(arguments.runs, arguments.out or default, arguments.storage))
    except (ValueError, JournalError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
