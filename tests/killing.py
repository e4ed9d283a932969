"""Kills a search at random moments, resumes it, and checks that nothing recorded was lost or done twice.

python -m tests.killing --kills 100 --seed 1     prints what each kill cost
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tune_sketch.journal import Record
from tune_sketch.run_directory import RunDirectory

ROOT = Path(__file__).parent.parent
GOOD_ENDINGS = ("completed", "stopped", "diverged")
KINDS = ("driver", "trial", "everything", "rename", "commit")
# A small search whose epochs take a few tenths of a second, so that a kill hits any place of it.
SEARCH = "--model baseline --classes 4 --per-class 24 --image-px 32 --num-samples 6 --max-epochs 9 --confirm-top 1"
SEARCH += " --confirm-seeds 1 --seed 3"

# Runs in every Python process of a killed search, by sitecustomize: dies between checkpoint write and rename.
RENAME_KILLER = """
import os, random, signal
if os.environ.get("KILL_AT") == "rename":
    replace, chance = os.replace, float(os.environ["KILL_CHANCE"])
    def dying_replace(source, target, **more):
        if str(target).endswith(".pt") and "checkpoints" in str(target) and random.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target, **more)
    os.replace = dying_replace
"""
# The search command whose driver dies at a commit: before it, between an epoch's two commits, or after it.
COMMIT_KILLER = """
import os, random, signal, sys
import tune_sketch.search
from optuna.storages import RDBStorage
chance, random_ = float(os.environ["KILL_CHANCE"]), random.Random(int(os.environ["KILL_SEED"]))
def wrap(name):
    commit = getattr(RDBStorage, name)
    def dying(*values, **more):
        if random_.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)
        result = commit(*values, **more)
        if random_.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(RDBStorage, name, dying)
for name in ("set_trial_user_attr", "set_trial_intermediate_value", "set_trial_state_values", "create_new_trial",
             "set_study_user_attr"):
    wrap(name)
sys.exit(tune_sketch.search.main(sys.argv[1:]))
"""


@dataclass
class Kill:
    """One kill and what it cost."""

    kind: str
    at_seconds: float  # since the process began
    lost_epochs: int = 0  # recorded before and missing after: must be 0
    redone_seconds: float = 0.0  # from the last recorded epoch of each running trial to the kill, summed


@dataclass
class Killer:
    """Runs one search under kills and keeps what was seen."""

    folder: Path
    seed: int
    extra: str = ""
    kills: list[Kill] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.run = RunDirectory(self.folder / "runs" / "killed")
        self.site = self.folder / "site"
        self.site.mkdir(parents=True)
        (self.site / "sitecustomize.py").write_text(RENAME_KILLER)
        (self.folder / "commit_killer.py").write_text(COMMIT_KILLER)
        self.log = open(self.folder / "output.txt", "a")  # noqa: SIM115

    def start(self, kind: str | None) -> subprocess.Popen:
        """Begin the search, or resume it when its run directory is there."""
        environment = dict(os.environ) | {"OMP_NUM_THREADS": "1", "KILL_SEED": str(self.random.randrange(10**6))}
        environment["PYTHONPATH"] = os.pathsep.join([str(self.site), str(ROOT)])
        if kind in ("rename", "commit"):
            environment |= {"KILL_AT": kind, "KILL_CHANCE": "0.06" if kind == "rename" else "0.02"}
        program = [str(self.folder / "commit_killer.py")] if kind == "commit" else ["-m", "tune_sketch.search"]
        if self.run.path.exists():
            flags = ["--resume", str(self.run.path)]
        else:
            flags = f"{SEARCH} {self.extra} --name killed --max-failures 1000 --runs-dir".split()
            flags.append(str(self.run.path.parent))
        return subprocess.Popen(
            [sys.executable, *program, *flags],
            env=environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            cwd=self.folder,
        )

    def kill_until(self, num_kills: int) -> None:
        """Kill and resume until so many kills were made or the search is complete; then let it finish."""
        while len(self.kills) < num_kills:
            kind = self.random.choice(KINDS)
            before = snapshot(self.run)
            process = self.start(kind)
            complete = self.wait_and_kill(process, kind)
            self.check(before)
            if complete:
                return
        before = snapshot(self.run)
        process = self.start(None)
        assert process.wait(timeout=600) == 0, f"the last resume failed, see {self.log.name}"
        self.check(before)

    def wait_and_kill(self, process: subprocess.Popen, kind: str) -> bool:
        """Kill in the chosen way at a random moment. True when the search was faster and is complete."""
        started = time.monotonic()
        delay = self.random.uniform(0.5, 12.0)
        # Two kills in three hit the training itself: they count from the first new epoch on.
        known = count_epochs(self.run)
        waits_for_epoch = self.random.random() < 2 / 3
        if waits_for_epoch:
            delay = self.random.uniform(0.0, 4.0)
        said_before = len(Path(self.log.name).read_text())
        num_trial_kills = self.random.randint(1, 4)
        while process.poll() is None:
            time.sleep(0.05)
            if waits_for_epoch:
                time.sleep(0.2)
                if count_epochs(self.run) == known:
                    continue
                waits_for_epoch, delay = False, time.monotonic() - started + delay
            passed = time.monotonic() - started
            if passed < delay:
                continue
            if kind in ("rename", "commit"):
                continue  # processes die on their own, by chance; where chance spares the driver, it finishes
            if kind == "trial":
                victims = [p for p in family(process) if is_trial(p)]
                if victims:
                    self.note(kind, passed)
                    kill_process(self.random.choice(victims))
                    num_trial_kills -= 1
                    delay = passed + self.random.uniform(0.3, 4.0)
                    if num_trial_kills == 0:
                        delay = 1e9
                continue
            self.note(kind, passed)
            if kind == "driver":
                process.kill()
            else:
                end_family(process)
            break
        code = process.wait()
        if kind == "rename":
            said = Path(self.log.name).read_text()[said_before:]
            for _ in range(said.count("its process died")):
                self.note(kind, time.monotonic() - started)
        if kind == "commit" and code == -signal.SIGKILL:
            self.note(kind, time.monotonic() - started)
        wait_until_gone(process)
        return code == 0

    def note(self, kind: str, passed: float) -> None:
        now = time.time()
        redone = sum(
            # Work on an epoch began with the record before it, or when this process handed the training out.
            now - max([record.started_at, now - passed, *(epoch["recorded_at"] for epoch in record.epochs)])
            for record in snapshot(self.run).values()
            if record.status == "running" and kind in ("driver", "everything", "commit")
        )
        self.kills.append(Kill(kind, passed, 0, redone))

    def check(self, before: dict[str, Record]) -> None:
        """Nothing that was recorded is gone, changed or twice; finished trials were not touched."""
        after = snapshot(self.run)
        for key, old in before.items():
            assert key in after, f"{key} is lost"
            new = after[key]
            assert new.config == old.config
            assert new.epochs[: len(old.epochs)] == old.epochs, f"{key}: recorded epochs changed"
            if not old.is_unfinished:
                assert (new.status, new.epochs, new.ended_at) == (old.status, old.epochs, old.ended_at)
        for key, record in after.items():
            assert [epoch["epoch"] for epoch in record.epochs] == list(range(1, len(record.epochs) + 1)), key


def snapshot(run: RunDirectory) -> dict[str, Record]:
    """What the journal holds now; nothing before there is one."""
    if not run.search_json.exists():
        return {}
    journal = run.open_journal(read_only=True)
    records = {record.key: record for record in journal.trials} | journal.retrainings
    journal.close()
    return records


def count_epochs(run: RunDirectory) -> int:
    return sum(len(record.epochs) for record in snapshot(run).values())


def family(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def is_trial(process: psutil.Process) -> bool:
    try:
        # Ray names a trial by what it does now: "ray::SketchTrial" idle, "ray::ResourceTrainable.train" at work.
        return any(name in " ".join(process.cmdline()) for name in ("SketchTrial", "ResourceTrainable"))
    except psutil.NoSuchProcess:  # or a zombie
        return False


def kill_process(victim: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()


def end_family(process: subprocess.Popen) -> None:
    """SIGKILL for the driver and every process it started, all at one moment."""
    relatives = family(process)
    process.kill()
    for relative in relatives:
        kill_process(relative)


def wait_until_gone(process: subprocess.Popen) -> None:
    """Wait for Ray's processes of the killed search: they notice the driver's death by themselves."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)


def values_of(run: RunDirectory) -> dict[str, list[tuple[float, ...]]]:
    """Per training the numbers that do not depend on time."""
    names = ("epoch", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "learning_rate")
    return {k: [tuple(e[n] for n in names) for e in r.epochs] for k, r in snapshot(run).items()}


def check_complete(run: RunDirectory) -> None:
    """A finished search: every trial ended, every finalist retrained and tested, every file there."""
    settings = run.read_settings()
    records = snapshot(run)
    trials = [record for record in records.values() if not record.is_retraining]
    assert len(trials) == settings.num_samples
    bad = [(record.key, record.status, record.error) for record in trials if record.status not in GOOD_ENDINGS]
    assert not bad, bad
    retrainings = [record for record in records.values() if record.is_retraining]
    assert len(retrainings) == (settings.confirm_top + 1) * settings.confirm_seeds
    assert all(record.test for record in retrainings if record.status == "completed")
    for path in (run.trials_csv, run.epochs_csv, run.confirm_csv, run.predictions_csv, run.report_html):
        assert path.stat().st_size > 0
    assert json.loads((run.best / "model.json").read_text())["architecture"] == settings.model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    kills: list[Kill] = []
    round_ = 0
    while len(kills) < arguments.kills:
        folder = Path(tempfile.mkdtemp(prefix="killing-"))
        killer = Killer(folder, arguments.seed + round_)
        killer.kill_until(min(10, arguments.kills - len(kills)))
        check_complete(killer.run)
        kills += killer.kills
        for kill in killer.kills:
            print(f"{kill.kind:<11} at {kill.at_seconds:5.1f} s, {kill.redone_seconds:5.2f} s of training to redo")
        shutil.rmtree(folder)
        round_ += 1
    redone = [kill.redone_seconds for kill in kills if kill.kind in ("driver", "everything", "commit")]
    print(
        f"{len(kills)} kills over {round_} searches: 0 epochs lost, 0 recorded twice; "
        f"training to redo per kill of the driver: mean {sum(redone) / max(1, len(redone)):.2f} s, "
        f"most {max(redone, default=0):.2f} s (n = {len(redone)})"
    )


if __name__ == "__main__":
    main()
