"""Kills a search at random moments, resumes it, and checks that nothing recorded was lost or done twice.

python -m tests.killing                       20 kills, and a table of what each kind of kill cost
python -m tests.killing --long --seed 1       100 kills
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe
from tests.support.kill_rows import Kill, append_rows, read_rows, table
from tests.support.processes import end_family, family, is_trial, kill_process, ray_process
from tests.support.recorded import check_complete, recorded_epochs, snapshot, written_lines
from tune_sketch.events import Epoch, Trial
from tune_sketch.status import status_lines
from tune_sketch.storage.run_directory import RunDirectory

ROOT = Path(__file__).parent.parent
DEADLY = ROOT / "tests" / "deadly"
# A search whose epochs take a few hundredths of a second, so that it is long enough for many kills, of any place.
NUM_SAMPLES = 10
SEARCH = (
    f"--model baseline --classes 4 --per-class 24 --image-px 32 --num-samples {NUM_SAMPLES} --max-epochs 18 --seed 3"
)
SEARCH += " --grace-epochs 6 --finalists 1 --retraining-seeds 1 --max-failures 1000"

TITLE = "What kills at random moments cost a search: epochs lost, recorded twice, and work to do again"
TRIAL, DRIVER, EVERYTHING = "trial process at a random moment", "driver at a random moment", "everything at one moment"
CHECKPOINT_PLACES = tuple(f"between checkpoint {place}" for place in ("write and rename", "and manifest", "and report"))
RAY_PLACES = {"gcs_server": "Ray's gcs_server", "raylet": "Ray's raylet", "DashboardAgent": "Ray's dashboard agent"}
GROUP = "SIGTERM to the whole group"
REPORT_PLACE = "while the report is written"
SESSION_PLACE = "between the begin of a session and its first proposal"
PROPOSAL_PLACES, EPOCH_PLACES, ENDING_PLACES, RETRAINING_PLACES = (
    tuple(f"{when} the write of {what}" for when in ("before", "after"))
    for what in ("a proposal", "an epoch", "an ending", "a retraining")
)
# An epoch and an ending are two lines of the log each; a line is written whole, or cut off later.
ANY_PLACES = (
    *EPOCH_PLACES,
    *ENDING_PLACES,
    "between the two writes of an epoch",
    "between the two writes of an ending",
    "in the middle of a line",
)


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
        self.seen: dict[tuple[str, int], Epoch] = {}  # every epoch that was ever seen in the record
        self.trial_processes: list[int] = []
        self.begun_at: dict[int, float] = {}  # by process
        self.endings: list[str] = []
        self.num_written = self.num_resumes_written = 0  # of kills and of resume_seconds, into a file

    def kill_until(self, num_kills: int, seconds: float = math.inf) -> None:
        """Kill and resume until the number of kills is reached or the time is over; then let the search finish."""
        complete, end = False, time.monotonic() + seconds
        while not complete:
            before = snapshot(self.run)
            num_left = num_kills - len(self.kills) if time.monotonic() < end else 0
            process = self.start()
            try:
                complete = self.run_session(process, num_left)
            finally:
                end_family(process)
            self.check(before)
            if self.rows is not None:
                kills, resume_seconds = self.kills[self.num_written :], self.resume_seconds[self.num_resumes_written :]
                append_rows(self.rows, self.seed, kills, resume_seconds)
                self.num_written, self.num_resumes_written = len(self.kills), len(self.resume_seconds)

    def kill_at(self, places: Sequence[str]) -> None:
        """Let one driver after the other die at these places; then let the search finish."""
        for place in places:
            before = snapshot(self.run)
            process = self.start()
            try:
                assert self.ask_to_die(process, place, seconds=300), f"{place}:\n{self.log.read_text()[-3000:]}"
                process.wait()
            finally:
                end_family(process)
            self.check(before)
        self.kill_until(len(self.kills))

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

    def run_session(self, process: subprocess.Popen, num_kills: int) -> bool:
        """From a start to the driver's death, with a limited number of kills. True if the search is complete first."""
        known = len(recorded_epochs(self.run))
        if num_kills == 0:
            self.pass_time(process, 300.0)
        elif self.random.random() < 0.1:
            self.ask_to_die(process, SESSION_PLACE, seconds=60)
        elif self.random.random() < 0.15:  # the driver dies somewhere in its start
            self.pass_time(process, self.random.uniform(0.3, 8.0))
        else:
            while len(self.seen) <= known and self.pass_time(process, 0.05):
                assert time.time() < self.started_at + 120, self.log.read_text()[-3000:]
            self.resume_seconds.append(time.time() - self.started_at)
            for _ in range(min(num_kills - 1, self.random.randint(2, 6))):
                if self.pass_time(process, self.random.uniform(0.0, 1.0)):
                    self.kill_ray(process) if self.random.random() < 0.2 else self.kill_trial(process)
            self.pass_time(process, self.random.uniform(0.0, 1.0))
        if process.poll() is None:
            assert num_kills, f"the last resume does not end:\n{self.log.read_text()[-3000:]}"
            self.kill_driver(process)
        # What the dead driver left behind ends by itself: the next session does not wait for that, as users do not.
        code = process.wait()
        assert code in (0, -signal.SIGKILL, 130), f"exit code {code}:\n{self.log.read_text()[-3000:]}"
        return code == 0

    def pass_time(self, process: subprocess.Popen, seconds: float) -> bool:
        """Look at the record until the time is over; False as soon as the process is."""
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

    def kill_ray(self, process: subprocess.Popen) -> None:
        """SIGKILL for one of Ray's own processes; the search begins again by itself, and gets to another epoch."""
        name = self.random.choice(list(RAY_PLACES))
        try:
            victim = ray_process(process, name)
        except AssertionError:  # the search is at its start or end
            return
        self.note(RAY_PLACES[name], time.time(), self.trial_processes)
        kill_process(victim)
        known, end = len(self.seen), time.time() + 120
        while len(self.seen) <= known and self.pass_time(process, 0.05):
            assert time.time() < end, f"no epoch after the death of {name}:\n{self.log.read_text()[-3000:]}"

    def end_by_signal(self, process: subprocess.Popen) -> None:
        """SIGTERM for every process of the search: trainings keep a checkpoint, and Ray lives until then."""
        self.note(GROUP, time.time(), [])
        os.killpg(process.pid, signal.SIGTERM)
        self.pass_time(process, 90)
        assert process.poll() in (0, 130), f"{process.poll()} after SIGTERM:\n{self.log.read_text()[-3000:]}"

    def kill_driver(self, process: subprocess.Popen) -> None:
        """SIGKILL for the driver, alone or with all others: now, or when it gets to a write."""
        if not self.endings:
            self.endings = self.random.sample([DRIVER, EVERYTHING, GROUP, "write", "write"], 5)
        place = self.endings.pop()
        if place == GROUP:
            self.end_by_signal(process)
            return
        if place == "write":
            if self.ask_to_die(process, self.choose_write(), seconds=20):
                return
            place = DRIVER  # the search did not get to that write
        if process.poll() is None:
            self.note(place, time.time(), self.trial_processes)
            process.kill() if place == DRIVER else end_family(process)

    def choose_write(self) -> str:
        """A place around one of the writes that are still to come."""
        keys = {key for key, _ in self.seen}
        if any(key.startswith("retraining-") for key in keys):
            return self.random.choice((*ANY_PLACES, REPORT_PLACE))
        more = PROPOSAL_PLACES if len(keys) < NUM_SAMPLES else RETRAINING_PLACES
        return self.random.choice((*more, *ANY_PLACES))

    def ask_to_die(self, process: subprocess.Popen, place: str, seconds: float = 6) -> bool:
        """Let the process that first gets to the place kill itself there. False when none did within seconds."""
        ask, deaths = self.folder / "ask", self.folder / "deaths"
        (self.folder / "ask.new").write_text(place)
        (self.folder / "ask.new").rename(ask)
        end = time.time() + seconds
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
        num_begun, redone_seconds = 0, 0.0
        longest = max((epoch.seconds for epoch in self.seen.values()), default=0.0)
        for victim in victims:
            work = self.folder / f"work-{victim}"
            safe_at = work.stat().st_mtime if work.exists() else self.begun_at.get(victim, self.started_at)
            if now > safe_at:
                num_begun += 1
                # What passed may have been waiting, but an epoch in progress is no longer than an epoch.
                redone_seconds += min(now - safe_at, longest) if longest else now - safe_at
        kill = Kill(place, now - self.started_at, begun_epochs=num_begun, redone_seconds=redone_seconds)
        self.kills.append(kill)

    def observe(self) -> None:
        """Compare the record with every earlier look at it."""
        now = recorded_epochs(self.run)
        for key, epoch in self.seen.items():
            if key not in now:
                self.kills[-1].lost_epochs += 1
            elif now[key] != epoch:
                self.kills[-1].changed_epochs += 1
        self.seen |= now

    def check(self, before: dict[str, Trial]) -> None:
        """Nothing that was recorded is gone, changed or twice; finished trials were not touched; all can be resumed."""
        self.observe()
        after = snapshot(self.run)
        for key, old in before.items():
            assert key in after, f"{key} is lost"
            assert (after[key].config, after[key].seed) == (old.config, old.seed)
            if not old.is_unfinished:
                assert after[key] == dataclasses.replace(old, test=after[key].test)
        for key, trial in after.items():
            assert [epoch.number for epoch in trial.epochs] == list(range(1, len(trial.epochs) + 1)), key
            if trial.is_unfinished and trial.epochs:
                whole = [int(file.stem[6:]) for file in self.run.checkpoints(key).glob("*.json")]
                self.kills[-1].redone_epochs += max(0, len(trial.epochs) - max(whole, default=0))
        if after:
            lines = written_lines(self.run)
            for (key, what), number in lines.items():
                self.kills[-1].changed_epochs += number - 1 if what.startswith("epoch_") else 0
                assert number == 1, f"{key}: {what} is written {number} times"
            expected = {(key, f"epoch_{epoch.number:04d}") for key, trial in after.items() for epoch in trial.epochs}
            expected |= {(key, "created") for key in after}
            expected |= {(key, "ended") for key, trial in after.items() if not trial.is_unfinished}
            assert lines.keys() == expected
        bad = [kill for kill in self.kills if kill.lost_epochs or kill.changed_epochs or kill.redone_epochs]
        assert not bad, bad
        if after:
            assert any(line.endswith("nobody is at work on it") for line in status_lines(self.run))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--long", action="store_true", help="100 kills")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no more kills after this time")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--rows", type=Path, help="a CSV file to which each kill is added; beside it a table of all")
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
    text = f"# {TITLE}\n\n`python -m tests.killing --long`; {describe()}\n\n{table(*read_rows(rows))}"
    text += " Every search ended with complete results. After a death of Ray's own processes it went on by itself."
    print(text)
    rows.with_suffix(".md").write_text(text + "\n")


if __name__ == "__main__":
    main()
