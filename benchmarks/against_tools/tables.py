"""The comparison's tables and its verdict, from the rows of the CSV alone."""

import statistics
from typing import Any, NamedTuple

from benchmarks.against_tools.cases import DATA, IMAGE_PX, OURS, TOOLS
from benchmarks.against_tools.scoring import Difference, compare, from_hex, mean_text

ABOUT = (
    "Every tool reads the same folder of PNG (dark ink on white; train, val and test by our own split) and answers "
    "with a value for each class of each test drawing, which is scored here. Repetitions differ in split and seed; n "
    "is their number. Time is counted from the start of the tool's process to its answer: imports, decoding, search, "
    "retraining and test included. Others fit their epochs to the time by a first one, which they throw away. SVM and "
    "logistic regression take what they take, and stand beside every time. ImageNet's weights are those of SqueezeNet "
    "1.1 for every tool that begins with them; Ultralytics' and AutoGluon's own could not be had, so these two train "
    "from scratch. Ours minus the tool: over the repetitions that both have, with the 95 % interval of all their test "
    "drawings, paired (chance of the drawings), and in round brackets that of Student's t over repetitions (chance of "
    "split, seed and drawings). The verdict goes by the first. Others: share of the processors that other programs "
    "took, at most; above a few percent, only CPU time can be compared."
)
FIRST_MINUTES, BEHIND_MINUTES = (30.0, 90.0), (10.0,)  # first beyond chance; not behind beyond chance
TARGET_DATA = "sketchy"
ANY = "any"  # kind of budget of a tool that takes what it takes
Row = dict[str, Any]


class Part(NamedTuple):
    """One table: a data set, first weights, and a budget."""

    data: str
    weights: str
    kind: str
    minutes: float


def measured(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "ok"]


def parts_of(rows: list[Row]) -> list[Part]:
    """The tables that the rows give, in the order of the data sets."""
    found = {Part(r["data"], r["weights"], r["kind"], float(r["minutes"])) for r in measured(rows) if r["kind"] != ANY}
    order = list(DATA)
    return sorted(found, key=lambda p: (order.index(p.data) if p.data in order else -1, *p[1:]))


def rows_of(rows: list[Row], part: Part) -> dict[str, dict[int, Row]]:
    """{tool: {repetition: its row}} of a table, tools without a budget included."""
    found: dict[str, dict[int, Row]] = {}
    for row in measured(rows):
        if (row["data"], row["weights"]) == part[:2] and (
            row["kind"] == ANY or (row["kind"], float(row["minutes"])) == part[2:]
        ):
            found.setdefault(row["tool"], {})[int(row["repetition"])] = row
    return {tool: found[tool] for tool in TOOLS if tool in found}


def difference(own: dict[int, Row], others: dict[int, Row]) -> Difference | None:
    """Of two tools' rows by repetition."""
    return compare(*({n: from_hex(r["right"], int(r["num_test"])) for n, r in rows.items()} for rows in (own, others)))


def difference_text(found: Difference | None) -> str:
    """In points, with both intervals."""
    if found is None:
        return ""
    low, high = found.of_drawings
    text = f"{100 * found.mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    if found.of_repetitions is not None:
        text += f" ([{100 * found.of_repetitions[0]:+.1f}, {100 * found.of_repetitions[1]:+.1f}])"
    return text


def table(rows: list[Row], part: Part) -> list[str]:
    """A line for each tool, best first."""
    tools = rows_of(rows, part)
    weights = "ImageNet's weights" if part.weights == "imagenet" else "from scratch"
    label = DATA[part.data].label if part.data in DATA else part.data
    of_what = "on the clock" if part.kind == "wall" else "of CPU"
    machines = sorted({row["machine"] for own in tools.values() for row in own.values()})
    num_test = sorted({int(row["num_test"]) for own in tools.values() for row in own.values()})
    lines = [
        f"## {label}, {weights}, {IMAGE_PX[part.weights]} px, {part.minutes:.3g} minutes {of_what}",
        "",
        f"{' or '.join(map(str, num_test))} test drawings in each repetition; {' and '.join(machines)}.",
        "",
        "| tool | n | top-1, percent | top-5 | ours minus it, points [95 %] ([t]) | minutes | of CPU | others | how |",
        f"|{'---|' * 9}",
    ]
    means = {tool: statistics.fmean(float(r["top1"]) for r in own.values()) for tool, own in tools.items()}
    for tool in sorted(tools, key=lambda tool: -means[tool]):
        own = list(tools[tool].values())
        values = {name: [float(row[name]) for row in own] for name in ("top1", "top5", "wall_seconds", "cpu_seconds")}
        against = None if tool == OURS or OURS not in tools else difference(tools[OURS], tools[tool])
        wall, cpu = (statistics.fmean(values[name]) / 60 for name in ("wall_seconds", "cpu_seconds"))
        others = max(float(row["others"]) for row in own)
        how = "; ".join(row["note"] for row in own)
        lines.append(
            f"| {TOOLS[tool].label} | {len(own)} | {mean_text(values['top1'])} | {mean_text(values['top5'])} | "
            f"{difference_text(against)} | {wall:.1f} | {cpu:.1f} | {others:.0%} | {how} |"
        )
    return lines


def verdicts(rows: list[Row]) -> tuple[list[str], bool]:
    """(a line for each target that was measured, whether all of these are met)."""
    lines, all_met = [], True
    for part in parts_of(rows):
        tools = rows_of(rows, part)
        others = {name: own for name, own in tools.items() if name != OURS}
        if part.data != TARGET_DATA or part.kind != "wall" or OURS not in tools or not others:
            continue
        best = max(others, key=lambda name: statistics.fmean(float(r["top1"]) for r in others[name].values()))
        found = difference(tools[OURS], others[best])
        if found is None or part.minutes not in (*FIRST_MINUTES, *BEHIND_MINUTES):
            continue
        low, high = found.of_drawings
        is_met = low > 0 if part.minutes in FIRST_MINUTES else high >= 0
        target = "first beyond chance" if part.minutes in FIRST_MINUTES else "not behind beyond chance"
        all_met &= is_met
        lines.append(
            f"- {part.weights}, {part.minutes:g} minutes, target {target}: {'met' if is_met else 'MISSED'}; "
            f"against {TOOLS[best].label} {difference_text(found)}, n = {found.num_repetitions}"
        )
    return lines, all_met


def page(rows: list[Row]) -> list[str]:
    """The whole page: what it is, verdict, tables, what is missing, versions."""
    lines = [ABOUT, ""]
    lines += verdicts(rows)[0] or [f"No target was measured yet: they are of {DATA[TARGET_DATA].label}."]
    for part in parts_of(rows):
        lines += ["", *table(rows, part)]
    failed = [row for row in rows if row["status"] != "ok"]
    if failed:
        lines += ["", "## Not measured", ""]
        lines += [
            f"- {TOOLS[row['tool']].label}, {row['data']}, {row['weights']}, {row['minutes'] or ANY} minutes, "
            f"repetition {row['repetition']}: {row['status']}"
            for row in failed
        ]
    lines += ["", "## Versions", ""]
    for tool in TOOLS:
        versions = sorted({row["versions"] for row in measured(rows) if row["tool"] == tool})
        lines += [f"- {TOOLS[tool].label}: {'; or '.join(versions)}"] if versions else []
    return lines
