"""Writes the report, one self-contained page about one or several runs: python -m analysis.report RUN [RUN ...]."""

import argparse
import datetime
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tune_sketch.analysis import run_comparison as compared_runs
from tune_sketch.analysis.figures.registry import SECTIONS, write_figures
from tune_sketch.analysis.run_data import RunData, read_run
from tune_sketch.analysis.tables.run_tables import STUDY_TABLE, write_tables
from tune_sketch.analysis.verdict import state_result, tabulate_verdict, warn
from tune_sketch.storage.run_directory import write_csv, write_text

PAGE = Path(__file__).parent / "page"
ALL_SECTIONS = SECTIONS | {"cost": "Cost", "settings": "Settings and versions"}


@dataclass(frozen=True)
class Section:
    """Tables and figures under one heading."""

    id: str
    title: str
    items: list[Any]


@dataclass(frozen=True)
class Chapter:
    """What the page says about one run, or about all of them together."""

    id: str
    title: str
    verdict: list[str]
    warnings: list[str]
    sources: list[str]  # files with the verdict's numbers
    sections: list[Section]


def write_report(runs: Sequence[Path], path: Path) -> Path:
    """Write the report on `runs` to `path`, and each figure as PNG and CSV into figures/ beside it.

    A run may be in any state: what is not there yet is left out. Raises ValueError for a folder that is no run
    directory.
    """
    if not runs:
        raise ValueError("a report needs at least one run directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    read = [read_run(Path(run)) for run in runs]
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
    tables = write_tables(run, folder, relative_to)
    if run.chosen is not None:
        tables[1:1] = write_tables(run, folder, relative_to, [STUDY_TABLE])  # right after the finalists
    figures = write_figures(run, folder, relative_to)
    sections = []
    for name, title in ALL_SECTIONS.items():
        items: list[Any] = [table for table in tables if table.table.section == name]
        items += [figure for figure in figures if figure.figure.section == name]
        if items:
            sections.append(Section(name, title, items))
    path = folder / "verdict.csv"
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(path, ["name", "value", "source"], tabulate_verdict(run))
    sources = [path.relative_to(relative_to).as_posix()]
    return Chapter(identifier, f"{run.settings.model}: {run.name}", state_result(run), warn(run), sources, sections)


def compare_runs(runs: Sequence[RunData], folder: Path, relative_to: Path) -> Chapter:
    """The chapter that compares several runs, the way the study compares its models."""
    tables = write_tables(runs, folder, relative_to, compared_runs.TABLES)
    figures = write_figures(runs, folder, relative_to, compared_runs.FIGURES)
    items: list[Any] = [*tables[:1], *figures, *tables[1:]]
    verdict, warnings = compared_runs.state_comparison(runs), compared_runs.warn_comparison(runs)
    sources = [item.csv for item in items if item.name in ("models", "mcnemar")]
    return Chapter("all", "All runs", verdict, warnings, sources, [Section("result", "Comparison", items)])


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a run directory, in whatever state")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the run directory, or here")
    arguments = parser.parse_args(argv)
    default = arguments.runs[0] / "report.html" if len(arguments.runs) == 1 else Path("report.html")
    try:
        print(write_report(arguments.runs, arguments.out or default))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
