"""Kills a search at random moments, resumes it, and checks that nothing recorded was lost or done twice.

python -m tests.killing                       20 kills, and a table of what each kind of kill cost
python -m tests.killing --long --seed 1       100 kills
"""

import argparse
import contextlib
import csv
import dataclasses
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import describe
from tests.support.processes import end_family, family, is_trial
from tests.support.recorded import check_complete, recorded_epochs, snapshot
from tune_sketch.status import status_lines
from tune_sketch.storage.run_directory import RunDirectory

ROOT = Path(__file__).parent.parent
DEADLY = ROOT / "tests" / "deadly"
# A search whose epochs take a few hundredths of a second, so that it is long enough for many kills, of any place.
SEARCH = "--model baseline --classes 4 --per-class 24 --image-px 32 --num-samples 10 --max-epochs 18 --seed 3"
SEARCH += " --grace-epochs 6 --confirm-top 1 --confirm-seeds 1 --max-failures 1000"

TITLE = "What kills at random moments cost a search: epochs lost, recorded twice, and work to do again"
TRIAL, DRIVER, EVERYTHING = "trial process at a random moment", "driver at a random moment", "everything at one moment"
CHECKPOINT_PLACES = tuple(f"between checkpoint {place}" for place in ("write and rename", "and manifest", "and report"))
SEARCH_PLACES = tuple(
    f"{when} the commit of {what}" for what in ("an epoch", "an ending", "a suggestion") for when in ("before", "after")
)
CONFIRM_PLACES = ("before the commit of a retraining", "after the commit of a retraining")


@dataclass
class Kill:
    """One kill and what it cost."""

    place: str
    at_seconds: float  # since the search was started or resumed
    lost_epochs: int = 0  # recorded before and missing later: must be 0
    changed_epochs: int = 0  # recorded before and written a second time: must be 0
    redone_epochs: int = 0  # recorded, but without a checkpoint: to be trained again, must be 0
    begun_epochs: int | None = 0  # at work when the kill came, at most: begun anew. None: not measured
    redone_seconds: float | None = 0.0  # of training in these, at most


class Killer:
    """Runs one search under kills and keeps what was seen."""

    def __init__(self, folder: Path, seed: int, flags: str = "", rows: Path | None = None) -> None:
        folder.mkdir(parents=True)
        self.folder, self.seed, self.flags, self.rows = folder, seed, flags, rows
        self.random = random.Random(seed)
        self.run = RunDirectory(folder / "runs" / "killed")
        self.log = folder / "output.txt"
        self.kills: list[Kill] = []
        self.resume_seconds: list[float] = []  # from the command to the first new epoch
        self.seen: dict = {}  # every epoch that was ever seen in the database
        self.trial_processes: list[int] = []
        self.begun_at: dict[int, float] = {}  # by process
        self.endings: list[str] = []
        self.num_written = self.num_resumes_written = 0  # of kills and of resume_seconds, into a file

    def kill_until(self, num_kills: int, seconds: float = math.inf) -> None:
        """Kill and resume until so many kills were made, or the time is over; then let the search finish."""
        complete, end = False, time.monotonic() + seconds
        while not complete:
            before = snapshot(self.run)
            num_left = num_kills - len(self.kills) if time.monotonic() < end else 0
            process = self.start()
            try:
                complete = self.sit(process, num_left)
            finally:
                end_family(process)
            self.check(before)
            if self.rows is not None:
                append_rows(self.rows, self)

    def start(self) -> subprocess.Popen:
        """Begin the search, or resume it when its run directory is there."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "KILLING": str(self.folder)}
        environment["PYTHONPATH"] = os.pathsep.join([str(DEADLY), str(ROOT)])
        if self.run.path.exists():
            flags = ["--resume", str(self.run.path)]
        else:
            flags = [*f"{SEARCH} {self.flags} --name killed --runs-dir".split(), str(self.run.path.parent)]
        self.started_at = time.time()
        with open(self.log, "a") as log:
            return subprocess.Popen(
                [sys.executable, str(DEADLY / "search.py"), *flags],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
            )

    def sit(self, process: subprocess.Popen, num_kills: int) -> bool:
        """From a start to the driver's death, with at most so many kills. True if the search is complete first."""
        known = len(recorded_epochs(self.run))
        if num_kills == 0:
            self.pass_time(process, 300.0)
        elif self.random.random() < 0.2:  # the driver dies somewhere in its start
            self.pass_time(process, self.random.uniform(0.3, 8.0))
        else:
            while len(self.seen) <= known and self.pass_time(process, 0.05):
                assert time.time() < self.started_at + 120, self.log.read_text()[-3000:]
            self.resume_seconds.append(time.time() - self.started_at)
            for _ in range(min(num_kills - 1, self.random.randint(2, 6))):
                if self.pass_time(process, self.random.uniform(0.0, 1.0)):
                    self.kill_trial(process)
            self.pass_time(process, self.random.uniform(0.0, 1.0))
        if process.poll() is None:
            assert num_kills, f"the last resume does not end:\n{self.log.read_text()[-3000:]}"
            self.kill_driver(process)
        # What the dead driver left behind ends by itself: the next sitting does not wait for that, as users do not.
        code = process.wait()
        assert code in (0, -signal.SIGKILL), f"exit code {code}:\n{self.log.read_text()[-3000:]}"
        return code == 0

    def pass_time(self, process: subprocess.Popen, seconds: float) -> bool:
        """Look at the database until the time is over; False as soon as the process is."""
        end = time.time() + seconds
        while process.poll() is None:
            self.look_at_processes(process)
            self.observe()
            if time.time() >= end:
                return True
            time.sleep(min(0.05, max(0.0, end - time.time())))
        return False

    def look_at_processes(self, process: subprocess.Popen) -> None:
        """Know the processes that train, also when they or the driver are dead a moment later."""
        found = [relative for relative in family(process) if is_trial(relative)]
        if process.poll() is None:
            self.trial_processes = [relative.pid for relative in found]
            self.begun_at |= {relative.pid: relative.create_time() for relative in found}

    def kill_trial(self, process: subprocess.Popen) -> None:
        """SIGKILL for one of the processes that train: any of them now, or the first that gets to a place."""
        place = TRIAL if self.random.random() < 0.4 else self.random.choice(CHECKPOINT_PLACES)
        if place != TRIAL:
            self.ask_to_die(process, place)
            return
        while not self.trial_processes:
            if not self.pass_time(process, 0.05):
                return
        victim = self.random.choice(self.trial_processes)
        self.note(TRIAL, time.time(), [victim])
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)

    def kill_driver(self, process: subprocess.Popen) -> None:
        """SIGKILL for the driver, alone or with all others: now, or when it gets to a commit."""
        if not self.endings:
            self.endings = self.random.sample([DRIVER, EVERYTHING, "commit", "commit"], 4)
        place = self.endings.pop()
        if place == "commit":
            confirms = any(key.startswith("confirm-") for key, _ in self.seen)
            if self.ask_to_die(process, self.random.choice(CONFIRM_PLACES if confirms else SEARCH_PLACES)):
                return
            place = DRIVER  # the search did not get to that commit
        if process.poll() is None:
            self.note(place, time.time(), self.trial_processes)
            process.kill() if place == DRIVER else end_family(process)

    def ask_to_die(self, process: subprocess.Popen, place: str) -> bool:
        """Let the process that first gets to the place kill itself there. False when none did within seconds."""
        ask, deaths = self.folder / "ask", self.folder / "deaths"
        (self.folder / "ask.new").write_text(place)
        (self.folder / "ask.new").rename(ask)
        end = time.time() + 6
        while ask.exists() and time.time() < end and self.pass_time(process, 0.02):
            pass
        try:
            ask.unlink()
            return False
        except FileNotFoundError:
            time.sleep(0.02)  # between taking the request and noting it
        death = json.loads(deaths.read_text().splitlines()[-1])
        assert death["place"] == place
        in_trial = place in CHECKPOINT_PLACES
        self.note(place, death["time"], [death["process"]] if in_trial else self.trial_processes)
        return True

    def note(self, place: str, now: float, victims: Sequence[int]) -> None:
        """Count a kill, with the work in progress of the training processes that it ends."""
        kill = Kill(place, now - self.started_at)
        longest = max((metrics["epoch_seconds"] for metrics in self.seen.values()), default=0.0)
        for victim in victims:
            work = self.folder / f"work-{victim}"
            safe_at = work.stat().st_mtime if work.exists() else self.begun_at.get(victim, self.started_at)
            if now > safe_at:
                kill.begun_epochs += 1
                # What passed may have been waiting, but an epoch in progress is no longer than an epoch.
                kill.redone_seconds += min(now - safe_at, longest) if longest else now - safe_at
        self.kills.append(kill)

    def observe(self) -> None:
        """Compare the database with every earlier look at it."""
        now = recorded_epochs(self.run)
        for key, metrics in self.seen.items():
            if key not in now:
                self.kills[-1].lost_epochs += 1
            elif now[key] != metrics:
                self.kills[-1].changed_epochs += 1
        self.seen |= now

    def check(self, before: dict) -> None:
        """Nothing that was recorded is gone, changed or twice; finished trials were not touched; all can be resumed."""
        self.observe()
        after = snapshot(self.run)
        for key, old in before.items():
            assert key in after, f"{key} is lost"
            assert (after[key].config, after[key].seed) == (old.config, old.seed)
            if not old.is_unfinished:
                assert after[key] == dataclasses.replace(old, test=after[key].test)
        for key, record in after.items():
            assert [epoch["epoch"] for epoch in record.epochs] == list(range(1, len(record.epochs) + 1)), key
            if record.is_unfinished and record.epochs:
                whole = [int(file.stem[6:]) for file in self.run.checkpoints(key).glob("*.json")]
                self.kills[-1].redone_epochs += max(0, len(record.epochs) - max(whole, default=0))
        bad = [kill for kill in self.kills if kill.lost_epochs or kill.changed_epochs or kill.redone_epochs]
        assert not bad, bad
        if after:
            assert any(line.endswith("nobody is at work on it") for line in status_lines(self.run))


def table(kills: Sequence[Kill], resume_seconds: Sequence[float], num_searches: int) -> str:
    """What kills cost, one row per place, as Markdown."""
    must_be_0 = ("lost_epochs", "changed_epochs", "redone_epochs")
    lines = [
        "| killed | kills | epochs lost | recorded twice | trained again though recorded "
        "| epochs in progress begun anew | seconds of training to do again |",
        "|---|---|---|---|---|---|---|",
    ]
    for place in [*sorted({kill.place for kill in kills}), "all"]:
        rows = [kill for kill in kills if place in (kill.place, "all")]
        sums = [sum(getattr(kill, name) for kill in rows) for name in must_be_0]
        begun = spread([kill.begun_epochs for kill in rows if kill.begun_epochs is not None], "d")
        seconds = spread([kill.redone_seconds for kill in rows if kill.redone_seconds is not None], ".2f")
        lines.append(f"| {place} | {len(rows)} | {sums[0]} | {sums[1]} | {sums[2]} | {begun} | {seconds} |")
    lines.append("")
    lines.append(
        f"Spreads are least / median / most per kill, over {num_searches} searches. From the command to the first new "
        f"epoch: {spread(resume_seconds, '.1f')} s (n = {len(resume_seconds)})."
    )
    return "\n".join(lines)


def spread(values: Sequence[float], form: str) -> str:
    """Least / median / most."""
    if not values:
        return "-"
    return " / ".join(format(value, form) for value in (min(values), statistics.median_high(values), max(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--long", action="store_true", help="100 kills")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no more kills after so many")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--rows", type=Path, help="a CSV file to which each kill is added; the table is over all in it")
    arguments = parser.parse_args()
    num_kills = 100 if arguments.long else arguments.kills
    print(f"seed {arguments.seed}", flush=True)
    rows = arguments.rows or Path(tempfile.mkdtemp(prefix="killing-")) / "kills.csv"
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # ends the search as well
    num_done, round_, end = 0, 0, time.monotonic() + arguments.seconds
    while num_done < num_kills and time.monotonic() < end:
        with tempfile.TemporaryDirectory(prefix="killing-") as folder:
            killer = Killer(Path(folder) / "search", arguments.seed + round_, rows=rows)
            killer.kill_until(num_kills - num_done, end - time.monotonic())
            check_complete(killer.run)
            num_done += len(killer.kills)
            round_ += 1
            print(f"{len(killer.kills)} kills, then complete", flush=True)
    print(f"# {TITLE}\n\n`python -m tests.killing --long`; {describe()}\n\n{table(*read_rows(rows))}")


def append_rows(path: Path, killer: Killer) -> None:
    """Add what is new of a search to the CSV file: kills, and how long resumes took (`place` is then "resume")."""
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, ["seed", *(field.name for field in FIELDS)], lineterminator="\n")
        if new:
            writer.writeheader()
        for kill in killer.kills[killer.num_written :]:
            writer.writerow({"seed": killer.seed} | dataclasses.asdict(kill))
        for seconds in killer.resume_seconds[killer.num_resumes_written :]:
            writer.writerow({"seed": killer.seed, "place": "resume", "at_seconds": seconds})
    killer.num_written, killer.num_resumes_written = len(killer.kills), len(killer.resume_seconds)


def read_rows(path: Path) -> tuple[list[Kill], list[float], int]:
    """(kills, seconds from command to first new epoch, number of searches) of a CSV file."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {field.name: float if "seconds" in field.name else int for field in FIELDS[1:]}
    kills = [
        Kill(row["place"], **{name: kind(row[name]) if row[name] else None for name, kind in kinds.items()})
        for row in rows
        if row["place"] != "resume"
    ]
    resumes = [float(row["at_seconds"]) for row in rows if row["place"] == "resume"]
    return kills, resumes, len({row["seed"] for row in rows})


FIELDS = dataclasses.fields(Kill)

if __name__ == "__main__":
    main()
