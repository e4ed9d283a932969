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
from tune_sketch.analysis.figures.base import Figure, ShownFigure, write_figures
from tune_sketch.analysis.figures.registry import FIGURES, FIGURES_OF_RUNS
from tune_sketch.analysis.rows import write_rows
from tune_sketch.analysis.run_data import RunData, read_run
from tune_sketch.analysis.tables.base import ShownTable, Table, write_tables
from tune_sketch.analysis.tables.registry import TABLES, TABLES_OF_RUNS
from tune_sketch.analysis.verdict import state_result, tabulate_verdict, warn
from tune_sketch.commands import command_text
from tune_sketch.data import DATASETS
from tune_sketch.data.paths import path_argument
from tune_sketch.data.screen import prepare_screen, print_error
from tune_sketch.formatting import count_text
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


def write_report(runs: Sequence[Path], path: Path, storage: str | None = None, data: str | None = None) -> Path:
    """Write the report on `runs` to `path`, and each figure as PNG and CSV into figures/ beside it.

    A run may be in any state: what is not there yet is left out, and what the lack of its drawings costs is said.
    storage: the URL of the runs' database, if it needs a password. data: where the drawings lie now. Raises ValueError
    for a folder that is no run directory or other drawings, JournalError when a record cannot be read.
    """
    if not runs:
        raise ValueError("a report needs at least one run directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    read = [read_run(Path(run), storage, data) for run in runs]
    for run in read:
        for line in describe_lost(run):
            print(f"note: {line}", file=sys.stderr)
    folder = path.parent / "figures"
    chapters = []
    if len(read) > 1:
        chapters.append(compare_runs(read, folder, path.parent))
    for number, run in enumerate(read, start=1):
        own_folder = folder / f"{number:02d}-{run.name}" if len(read) > 1 else folder
        chapters.append(describe_run(run, own_folder, path.parent, f"run{number}"))
    names = ", ".join(run.name for run in read)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string((PAGE / "report.html").read_text(encoding="utf-8")).render(
        title=f"{', '.join(dict.fromkeys(model for run in read for model in run.facts.models))}: sketch classification",
        subtitle=f"{names}; written {datetime.datetime.now():%Y-%m-%d %H:%M}",
        chapters=chapters,
        unfinished=describe_unfinished(read),
        footer="Every number on this page is in the named files beside it. Intervals are 95 %.",
        css=Markup((PAGE / "report.css").read_text(encoding="utf-8")),
        script=Markup((PAGE / "report.js").read_text(encoding="utf-8")),
    )
    write_text(path, page)
    return path


def describe_run(run: RunData, folder: Path, relative_to: Path, identifier: str) -> Chapter:
    """The chapter on one run."""
    own = run.of_best_network()  # for what compares trials at rungs, which those of two networks do not share
    items: list[Item] = []
    for table in TABLES:
        items += write_tables([table], own if is_of_one(table) else run, folder, relative_to)
    for figure in FIGURES:
        items += write_figures([figure], own if is_of_one(figure) else run, folder, relative_to)
    found = [Section(name, title, [item for item in items if item.section == name]) for name, title in SECTIONS.items()]
    sections = [section for section in found if section.items]
    path = folder / "verdict.csv"
    write_rows(path, tabulate_verdict(run))
    sources = [path.relative_to(relative_to).as_posix()]
    title, warnings = f"{', '.join(run.facts.models)}: {run.name}", [*describe_lost(run), *warn(run)]
    return Chapter(identifier, title, state_result(run), warnings, sources, sections)


def is_of_one(item: Table[RunData] | Figure[RunData]) -> bool:
    """Whether it is about the trials of one network, also where a search has several."""
    return item.section == "search" and not item.is_of_all


def describe_unfinished(runs: Sequence[RunData]) -> str:
    """The note that the page is not final, where a search is at work or was interrupted; or nothing."""
    at_work = [run.name for run in runs if run.is_running]
    if at_work:
        return (
            f"Not final: the search is still at work ({', '.join(at_work)}). While it is, this page is written again "
            "every few minutes: load it again."
        )
    begun = [run.name for run in runs if run.chosen is None or not run.chosen.values("test_top1")]
    return f"Not final: without a test result yet ({', '.join(begun)})." if begun else ""


def describe_lost(run: RunData) -> list[str]:
    """The parts that are missing because the decoded drawings are gone, and the command that mends it; or nothing."""
    if run.data is not None:
        return []
    items: list[Table[RunData] | Figure[RunData]] = [*TABLES, *FIGURES]
    lost = [item.title for item in items if item.needs_data and (item.section == "data" or run.predictions)]
    given = run.settings.data
    is_there = given in DATASETS or Path(given).exists()
    command = command_text("report", run.run.path, "--data", *[given] * is_there, more="" if is_there else "PLACE")
    return [
        f"{run.name}: its drawings are no longer decoded in {run.cache}, so {count_text(len(lost), 'item')} cannot be "
        f"shown: {'; '.join(lost)}. They can after: {command}"
    ]


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
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", type=path_argument, help="a run directory, in whatever state")
    add("--out", type=path_argument, metavar="FILE", help="default: report.html in the run directory, or here")
    add("--data", metavar="PLACE", help="where the drawings of the search lie now, if its decoded copy is gone")
    add("--storage", metavar="URL", help="the database of the record, if it needs a password")
    arguments = parser.parse_args(argv)
    prepare_screen()
    default = arguments.runs[0] / "report.html" if len(arguments.runs) == 1 else Path("report.html")
    try:
        print(write_report(arguments.runs, arguments.out or default, arguments.storage, arguments.data))
    except (ValueError, JournalError, OSError) as error:
        return print_error(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
