"""Head to head with what people would use instead: same drawings, split, weights, machine and time.

    python -m benchmarks.against_tools --minutes 10 30 90 [--data sketchy] [--weights imagenet] [--repetitions 3]
    python -m benchmarks.against_tools --cpu-minutes 20 60
    python -m benchmarks.against_tools --rehearse

Each tool runs by itself, in an environment that is made on first use from its file in requirements/ under --cache.
Resumes: what is in the CSV is not done again, what failed is. --cpu-minutes: ours is run for as long as N CPU minutes
take on all cores of an idle machine, and the others get as many CPU seconds as that took: the fair comparison where the
machine is shared. The rest of the machine is to be left alone for --minutes.
"""

import argparse
import datetime
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.against_tools.cases import (
    DATA,
    IMAGE_PX,
    OURS,
    REHEARSAL,
    REHEARSAL_DATA,
    TOOLS,
    WEIGHTS,
    Data,
    is_there,
    prepare_folder,
)
from benchmarks.against_tools.environments import python_of
from benchmarks.against_tools.running import Budget, run_tool
from benchmarks.against_tools.scoring import score_answer, to_hex
from benchmarks.against_tools.tables import ANY, Row, page, verdicts
from benchmarks.machine import cpu_name, read_rows, result_path, write_result
from benchmarks.real_weights import packaged_file, write_squeezenet
from tune_sketch.data.request import default_cache_dir
from tune_sketch.data.workers import count_cores
from tune_sketch.storage.files import write_csv
from tune_sketch.storage.provenance import describe_session

NAME, TITLE = "against_tools", "Against what people would use instead"
REHEARSAL_SECONDS = 20.0
KEY = ("data", "weights", "kind", "minutes", "tool", "repetition")
COLUMNS = (
    *KEY,
    *("status", "top1", "top5", "num_test", "wall_seconds", "cpu_seconds", "others", "note", "versions"),
    *("commit", "date", "machine", "right"),
)


class Case(NamedTuple):
    """One run of one tool. minutes: of the budget, "" for a tool that takes what it takes."""

    data: str
    weights: str
    kind: str
    minutes: str
    tool: str
    repetition: int

    def row(self, status: str) -> Row:
        return self._asdict() | {"status": status}


def list_cases(arguments: argparse.Namespace) -> list[Case]:
    """Every run, repetition by repetition, ours before the others of the same time."""
    budgets = [("wall", minutes) for minutes in arguments.minutes]
    budgets += [("cpu", minutes) for minutes in arguments.cpu_minutes]
    cases = []
    for repetition in range(arguments.repetitions):
        for data in arguments.data:
            for weights in arguments.weights:
                tools = [name for name in TOOLS if name in arguments.tools and weights in TOOLS[name].weights]
                for name in tools:
                    if not TOOLS[name].takes_budget:
                        cases.append(Case(data, weights, ANY, "", name, repetition))
                for kind, minutes in budgets:
                    for name in tools:
                        if TOOLS[name].takes_budget:
                            cases.append(Case(data, weights, kind, f"{minutes:g}", name, repetition))
    return cases


def budget_of(case: Case, rows: list[Row]) -> Budget:
    """How long the tool may work. Raises ValueError for CPU time while it is not known what ours took."""
    if case.kind == ANY:
        return Budget("wall", 600.0, 600.0)  # never reached: only the limit of a run that hangs
    seconds = 60 * float(case.minutes)
    if case.kind == "wall":
        return Budget("wall", seconds, seconds)
    if case.tool == OURS:
        return Budget("wall", seconds / count_cores(), seconds / count_cores())
    of_ours = case._replace(tool=OURS)
    for row in rows:
        if key_of(row) == of_ours and row["status"] == "ok":
            return Budget("cpu", float(row["cpu_seconds"]), float(row["wall_seconds"]))
    raise ValueError("its CPU time is that of ours, which was not measured")


def key_of(row: Row) -> Case:
    """The run that a row of the CSV is of."""
    return Case(*(row[name] for name in KEY[:-1]), int(row["repetition"]))


def run_case(case: Case, rows: list[Row], cache: Path, data: Data) -> Row:
    """The row of one run; one that says why where it failed."""
    tool = TOOLS[case.tool]
    try:
        if not is_there(data):
            raise ValueError(f"{data.source} is not there")
        budget = budget_of(case, rows)
        python = python_of(tool.environment, cache)
        folder = prepare_folder(data, IMAGE_PX[case.weights], case.repetition, cache)
        weights = str(cache / "squeezenet1_1.pth") if case.weights == "imagenet" else None
        if weights and packaged_file() is None:
            raise ValueError("ImageNet's weights come with '.[bench]', which is not installed")
        if weights and not Path(weights).exists():
            write_squeezenet(Path(weights))
        task = {
            "folder": str(folder),
            "weights": weights,
            "image_px": IMAGE_PX[case.weights],
            "seed": case.repetition,
        }
        work = cache / "work" / "-".join(map(str, case))
        measured = run_tool(tool, python, task, budget, work)
        score = score_answer(measured.answer, folder)
    except ValueError as error:
        return case.row(f"failed: {error}")
    session = describe_session(None)
    return case.row("ok") | {
        "top1": round(score.top1, 5),
        "top5": round(score.top5, 5),
        "num_test": len(score.right),
        "wall_seconds": round(measured.wall_seconds, 1),
        "cpu_seconds": round(measured.cpu_seconds, 1),
        "others": round(measured.others, 3),
        "note": measured.answer["note"],
        "versions": ", ".join(f"{name} {version}" for name, version in measured.answer["versions"].items()),
        "commit": (session.git_commit or "")[:10],
        "date": datetime.date.today().isoformat(),
        "machine": f"{count_cores()} cores of {cpu_name()}",
        "right": to_hex(score.right),
    }


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.against_tools",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--minutes", type=float, nargs="+", default=[], metavar="N", help="on the clock, for each tool")
    parser.add_argument("--cpu-minutes", type=float, nargs="+", default=[], metavar="N", help="of CPU time")
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=DATA, metavar="DATA", help=", ".join(DATA))
    parser.add_argument(
        "--weights", nargs="+", default=list(WEIGHTS), choices=WEIGHTS, metavar="W", help=", ".join(WEIGHTS)
    )
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=TOOLS, metavar="T", help=", ".join(TOOLS))
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="splits and seeds (default: 3)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache_dir() / NAME,
        metavar="DIR",
        help="of environments, folders and logs (default: beside decoded drawings)",
    )
    parser.add_argument("--list", action="store_true", help="print what would run, with its minutes, and end")
    parser.add_argument(
        "--rehearse", action="store_true", help=f"{REHEARSAL_SECONDS:.0f} s of each on doodles; writes no result"
    )
    arguments = parser.parse_args(argv)
    if arguments.rehearse:
        arguments.minutes, arguments.cpu_minutes, arguments.repetitions = [REHEARSAL_SECONDS / 60], [], 1
        arguments.data = [REHEARSAL]
    elif not arguments.minutes and not arguments.cpu_minutes:
        parser.error("say how long: --minutes or --cpu-minutes, or --rehearse")
    if min([*arguments.minutes, *arguments.cpu_minutes]) <= 0 or arguments.repetitions < 1:
        parser.error("minutes must be positive, and repetitions at least 1")
    arguments.cache = arguments.cache.absolute()
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run what is missing, writing after each; 1 where a target is missed, or a rehearsed tool fails."""
    arguments = read_arguments(argv)
    path = result_path(NAME, ".csv")
    rows = [] if arguments.rehearse else read_rows(path)
    done = {key_of(row) for row in rows if row["status"] == "ok"}
    cases = [case for case in list_cases(arguments) if case not in done]
    if arguments.list:
        for case in cases:
            print(*case)
        clock = sum(float(c.minutes or 1) / (count_cores() if c.kind == "cpu" else 1) for c in cases)
        print(f"{len(cases)} runs, {clock:.0f} minutes on an idle machine")
        return 0
    for number, case in enumerate(cases, start=1):
        print(f"[{number} of {len(cases)}]", *case, flush=True)
        row = run_case(case, rows, arguments.cache, DATA.get(case.data, REHEARSAL_DATA))
        rows = [other for other in rows if key_of(other) != case] + [row]
        print({name: row[name] for name in COLUMNS[6:14] if name in row}, flush=True)
        if not arguments.rehearse:
            write_csv(path, COLUMNS, rows)
            write_result(NAME, TITLE, page(rows))
    print("\n".join(page(rows)))
    if arguments.rehearse:
        return int(any(row["status"] != "ok" for row in rows))
    return int(not verdicts(rows)[1])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the tool at work is ended too
    sys.exit(main())
