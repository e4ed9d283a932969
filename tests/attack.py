"""Tries every reader with files cut, flipped and spliced from good ones: python -m tests.attack [--inputs N].

Whatever lies in a file, a reader reads it or names it as bad. Anything else, another exception or a reader that takes
too long, is a fault. The same inputs are tried every time.
"""

import argparse
import csv
import shutil
import signal
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.support.boundaries import BOUNDARIES, Boundary
from tests.support.tries import PAGE, put_between

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "attacks-inputs.csv"
BEGIN, END = "<!-- inputs: written by python -m tests.attack -->", "<!-- end of inputs -->"
MOST_SECONDS = 20  # for one input
EXTREMES = [
    *(b"-1", b"0", b"1e999", b"-1e999", b"NaN", b"1e-320", b"1" + b"0" * 400, b"9" * 30, b"null", b"{}", b"[]", b'""'),
    *(b"[" * 100_000, b"\xff\xfe", b"\0" * 64, b"=cmd|' /C calc'!A0", b"../" * 20, "²".encode(), b"2.5", b"true"),
]


@dataclass
class Count:
    """Counts of what became of the inputs of one boundary."""

    tried: int = 0
    refused: int = 0  # named as bad
    accepted: int = 0  # read: the damage does not matter, or cannot be seen
    faults: list[str] = field(default_factory=list)


class TooSlowError(BaseException):
    """A reader takes too long. Not an Exception, so that no reader can take it for a bad file."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TooSlowError in this thread after a number of seconds."""

    def ring(number: int, frame: object) -> None:
        raise TooSlowError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def damage(good: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A file made of a good one: cut, flipped, spliced, repeated, or with something extreme put in."""
    how = rng.integers(8)
    at, to = sorted(int(n) for n in rng.integers(0, len(good) + 1, 2))
    if how == 0:
        return good[:at]
    if how == 1:
        flipped = bytearray(good)
        for position in rng.integers(0, max(1, len(good)), rng.integers(1, 9)):
            if flipped:
                flipped[position] ^= 1 << int(rng.integers(8))
        return bytes(flipped)
    if how == 2:
        return good[:at] + other[int(rng.integers(0, len(other) + 1)) :]
    if how == 3:
        return good[:at] + good[to:]
    if how == 4:
        return good[:at] + good[at:to] * int(rng.integers(2, 5)) + good[to:]
    if how == 5:
        return good[:at] + rng.bytes(min(64, to - at)) + good[min(at + 64, to) :]
    extreme = EXTREMES[int(rng.integers(len(EXTREMES)))]
    if how == 6:  # in the place of a number or a word, where there are any
        return replace_word(good, extreme, rng)
    near = int(rng.integers(0, min(64, len(good)) + 1))  # in the heading, where sizes and types are
    return good[:near] + extreme + good[near + len(extreme) :]


def replace_word(good: bytes, extreme: bytes, rng: np.random.Generator) -> bytes:
    """The file with one word or number exchanged."""
    import re

    words = list(re.finditer(rb"-?[0-9][0-9.e+-]*|\"[^\"]*\"|[a-z]+", good[:200_000]))
    if not words:
        return extreme
    word = words[int(rng.integers(len(words)))]
    return good[: word.start()] + extreme + good[word.end() :]


def attack(boundary: Boundary, num_inputs: int, folder: Path) -> Count:
    """Try a boundary with a number of inputs."""
    rng = np.random.default_rng([zlib.crc32(boundary.name.encode()), 7])
    count = Count()
    goods = [path.read_bytes() for path in boundary.make(folder)]
    for number, good in enumerate(goods):  # else a reader that refuses everything would pass
        try:
            read_one(boundary, good, folder / f"good{number}")
        except boundary.refusals:
            if not boundary.may_refuse_good:
                raise
    for number in range(num_inputs):
        good, other = goods[number % len(goods)], goods[int(rng.integers(len(goods)))]
        content = b"" if number == 0 else damage(good, other, rng)
        count.tried += 1
        try:
            read_one(boundary, content, folder / f"input{number}")
        except boundary.refusals:
            count.refused += 1
        except (Exception, TooSlowError) as error:
            kept = Path(tempfile.gettempdir()) / f"attack-{boundary.name.replace('/', '-').replace(' ', '-')}-{number}"
            kept.write_bytes(content)
            count.faults.append(f"{type(error).__name__}: {str(error)[:200]} (input {kept})")
        else:
            count.accepted += 1
    return count


def read_one(boundary: Boundary, content: bytes, place: Path) -> None:
    """Let the reader read the content in a folder of its own: some readers remember what lies at a path."""
    place.mkdir()
    try:
        with limited(MOST_SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            boundary.read(content, place)
    finally:
        shutil.rmtree(place)


def write_page(rows: list[dict[str, object]]) -> None:
    """Put the table into the page, between its marks."""
    lines = ["| reader | inputs tried | named as bad | read | faults |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['reader']} | {r['tried']:,} | {r['refused']:,} | {r['accepted']:,} | {r['faults']} |" for r in rows
    ]
    total = [sum(int(str(row[name])) for row in rows) for name in ("tried", "refused", "accepted", "faults")]
    lines.append(f"| all | {total[0]:,} | {total[1]:,} | {total[2]:,} | {total[3]} |")
    put_between(PAGE, BEGIN, END, lines)


def main(argv: list[str] | None = None) -> int:
    """The command: exit code 1 where there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000, metavar="N", help="inputs of each reader (default: 1000)")
    parser.add_argument("--only", metavar="TEXT", help="readers whose name holds TEXT; writes no results")
    arguments = parser.parse_args(argv)
    rows: list[dict[str, object]] = []
    for boundary in BOUNDARIES:
        if arguments.only is not None and arguments.only not in boundary.name:
            continue
        missing = boundary.missing()
        if missing:
            print(f"{boundary.name}: skipped, {missing}")
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            count = attack(boundary, arguments.inputs, Path(folder))
        rows.append(
            {
                "reader": boundary.name,
                "tried": count.tried,
                "refused": count.refused,
                "accepted": count.accepted,
                "faults": len(count.faults),
            }
        )
        print(f"{rows[-1]}  {time.monotonic() - started:.0f} s", flush=True)
        for fault in count.faults[:5]:
            print(f"    {fault}")
    if arguments.only is None:
        with RESULTS.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_page(rows)
    return int(any(row["faults"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
