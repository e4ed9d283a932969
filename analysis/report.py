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

from analysis import study
from analysis.figures import SECTIONS, write_figures
from analysis.finalist_tables import tabulate_mcnemar_of_runs
from analysis.run_data import RunData, read_run
from analysis.tables import MCNEMAR_TABLE, Table, show_study, tabulate_study, write_table, write_tables
from analysis.verdict import state_result, warn
from tune_sketch.run_directory import write_text

PAGE = Path(__file__).parent / "page"
ALL_SECTIONS = SECTIONS | {"cost": "Cost", "settings": "Settings and versions"}
STUDY_TABLE = Table(
    "study",
    "result",
    "Beside the study (its Tables 2 and 3)",
    "Percent. Ours: the chosen finalist, mean over seeds, with the t interval over them; the study's: Wilson. "
    + " ".join(study.REMARKS)
    + f" Source: {study.SOURCE}.",
    lambda run: tabulate_study([run]),
    show_study,
)


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
        title=f"{' and '.join(dict.fromkeys(run.settings.model for run in read))}: sketch classification",
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
    rows = tabulate_study([run])
    if run.chosen is not None:
        tables.insert(1, write_table(STUDY_TABLE, rows, folder, relative_to))  # right after the finalists
    figures = write_figures(run, folder, relative_to)
    sections = []
    for name, title in ALL_SECTIONS.items():
        items: list[Any] = [table for table in tables if table.table.section == name]
        items += [figure for figure in figures if figure.figure.section == name]
        if items:
            sections.append(Section(name, title, items))
    return Chapter(identifier, f"{run.settings.model}: {run.name}", state_result(run), warn(run), sections)


def compare_runs(runs: Sequence[RunData], folder: Path, relative_to: Path) -> Chapter:
    """The chapter that compares several runs, the way the study compares its models."""
    tested = [run for run in runs if run.chosen is not None and run.finalists]
    tops = {
        id(run): float(run.confirm_row(run.chosen, "mean")["test_top1"]) for run in tested if run.chosen is not None
    }
    validation = {
        id(run): float(run.confirm_row(run.chosen, "mean")["val_top1"]) for run in tested if run.chosen is not None
    }
    verdict = [f"{len(runs)} runs, {len(tested)} with a test result."]
    if tested:
        best = max(tested, key=lambda run: validation[id(run)])
        verdict = [
            f"Best on validation: {best.settings.model} ({best.name}), which recognises {100 * tops[id(best)]:.1f} % "
            "of its test drawings at the first guess."
        ]
    warnings = []
    if len({run.search["data"]["fingerprint"] for run in runs}) > 1:
        warnings.append("The runs do not share one decoded data set: their results are not on the same drawings.")
    elif len({(run.settings.seed, run.settings.split_by, run.settings.protocol) for run in runs}) > 1:
        warnings.append("The runs do not share one split into training and test.")
    tables = [write_table(STUDY_TABLE, tabulate_study(runs), folder, relative_to)]
    tests = tabulate_mcnemar_of_runs(runs)
    if tests:
        tables.append(write_table(MCNEMAR_TABLE, tests, folder, relative_to))
    return Chapter("all", "All runs", verdict, warnings, [Section("result", "Comparison", tables)])


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
