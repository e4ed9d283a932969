"""The tables of docs/reliability.md say what the files say that the programs wrote, about all that is tried."""

import csv
import re
from pathlib import Path

from tests import attack
from tests.support import tries
from tests.support.boundaries import BOUNDARIES
from tests.support.tries import PAGE, lines_between

REAL = Path(__file__).parents[1] / "real"


def test_readers_that_are_tried_alone_take_the_place_of_their_rows() -> None:
    known = [{"reader": b.name, "tried": 12, "faults": 0} for b in BOUNDARIES[:3]] + [{"reader": "gone", "tried": 12}]
    new = [{"reader": b.name, "tried": n, "faults": 1} for b, n in zip(BOUNDARIES[1:4], (6, 12, 6), strict=True)]
    joined = attack.join_rows(known, new)
    assert [row["reader"] for row in joined] == [boundary.name for boundary in BOUNDARIES[:4]]
    assert [(row["tried"], row["faults"]) for row in joined] == [(12, 0), (12, 0), (12, 1), (6, 1)]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_of_inputs_is_that_of_its_file() -> None:
    rows = rows_of(attack.RESULTS)
    assert lines_between(PAGE, attack.BEGIN, attack.END) == attack.table_lines(rows)
    assert [row["faults"] for row in rows] == ["0"] * len(rows)
    for row in rows:
        assert int(row["tried"]) == int(row["refused"]) + int(row["accepted"]) > 0


def test_every_reader_has_been_tried() -> None:
    assert [row["reader"] for row in rows_of(attack.RESULTS)] == [boundary.name for boundary in BOUNDARIES]


def test_the_table_of_tries_is_that_of_its_files() -> None:
    """With the kills, which are counted in a file of their own."""
    rows = rows_of(tries.RESULTS)
    counts = {row["what"]: (int(row["tried"]), int(row["held"])) for row in rows}
    assert lines_between(PAGE, tries.BEGIN, tries.END) == tries.table_lines(counts)
    assert len(counts) == len(rows)
    assert all(tried == held > 0 for tried, held in counts.values())


def test_the_tries_are_those_that_the_tests_count() -> None:
    text = "".join((REAL / name).read_text() for name in ("test_security.py", "test_ray_dies.py"))
    counted = {re.escape(name) for name in re.findall(r'record_tries\(f?"([^"]+)"', text)}
    patterns = [re.sub(r"\\\{[^}]*\\\}", ".+", name) for name in counted]  # what an f-string puts in
    known = [row["what"] for row in rows_of(tries.RESULTS)]
    assert [p for p in patterns if not any(re.fullmatch(p, what) for what in known)] == []
    assert [what for what in known if not any(re.fullmatch(p, what) for p in patterns)] == []
