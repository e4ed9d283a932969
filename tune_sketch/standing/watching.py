"""Draws how a search gets on, again and again until it ends: for status --watch, on any terminal, also over ssh."""

import os
import shutil
import sys
import time
from collections.abc import Sequence

from tune_sketch.data.names import written_lines
from tune_sketch.data.screen import prepare_screen, print_error
from tune_sketch.events import Trial
from tune_sketch.formatting import duration_text, name_of, percent
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.standing.progress import count_states, describe_resume, present, time_left_text
from tune_sketch.standing.turns import network_texts
from tune_sketch.storage.facts import Facts, read_facts
from tune_sketch.storage.history import History, JournalError
from tune_sketch.storage.lock import Owner, read_owner
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory

PAUSE_SECONDS = 2.0  # between two looks, and at least NUM_PAUSES times as long as a look takes
NUM_PAUSES = 20
GONE_SECONDS = 20.0  # a search that begins again after Ray died is without an owner for a while
BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"  # from low to high
NAME_WIDTH = 10  # of what a line begins with


def watch(run: RunDirectory, storage: str | None = None) -> int:
    """Draw until nobody is at work on the run. Exit code 130 for Ctrl-C, 2 for what the user can mend."""
    prepare_screen()
    was_owned, seen_at, drawn = False, 0.0, list[str]()
    try:
        while True:
            begun = time.monotonic()
            facts, history, owner = read_facts(run), read_history(run, storage), read_owner(run)
            size = shutil.get_terminal_size()
            lines = frame(run, facts, history, owner, *size, blocks=blocks_of(sys.stdout.encoding))
            if lines != drawn:
                draw(lines)
                drawn = lines
            if owner is not None:
                was_owned, seen_at = True, begun
            elif not was_owned or begun - seen_at > GONE_SECONDS or is_finished(run, facts, history):
                print("nobody is at work on it: " + ("it has ended" if was_owned else "nothing to watch"))
                return 0
            time.sleep(max(PAUSE_SECONDS, NUM_PAUSES * (time.monotonic() - begun)))
    except KeyboardInterrupt:
        print()
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, JournalError, OSError) as error:
        return print_error(error)


def draw(lines: Sequence[str]) -> None:
    """Write over what was drawn before, from the top, and clear the rest. A pipe gets one drawing after another."""
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
    else:
        sys.stdout.write("\n".join([*lines, "", ""]))
    sys.stdout.flush()


def frame(
    run: RunDirectory, facts: Facts, history: History, owner: Owner | None, columns: int, rows: int, *, blocks: str
) -> list[str]:
    """The frame to draw: at most `columns` wide, and `rows` minus two high, so that nothing scrolls."""
    settings, trials = facts.settings, history.trials
    later = list(history.later_trainings.values())
    now, seconds = present(facts, owner), owner.seconds() if owner is not None else None
    since = "" if seconds is None else f", for {duration_text(seconds)}"
    most_trials = f"{'at most ' * settings.has_budget}{settings.num_samples}"
    lines = [
        f"{run.path.resolve().name}: {', '.join(facts.models)}, {settings.data}{since}",
        "",
        line("trials", f"{len(trials)} of {most_trials}: {count_states(trials, owner is not None)}"),
        *best_lines(trials, columns - NAME_WIDTH, blocks),
        *(line("network", text) for text in network_texts(facts, trials)),
        *(rung_line(trials, rung) for rung in ([] if facts.networks else settings.rungs)),
    ]
    if later:
        lines.append(line("retrained", f"{len(later)}: {count_states(later, owner is not None)}"))
    if owner is not None:
        lines.append(line("time left", left_text(later, now) if later else time_left_text(history, facts, now)))
        lines += ["", *worker_lines([*trials, *later], now)]
    most = max(4, rows - 2)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"... and {len(lines) - most + 1} more lines"]
    return [cut(written_lines(one), columns - 1) for one in lines]


def line(name: str, text: str) -> str:
    """A line with its name in front."""
    return f"{name:<{NAME_WIDTH}}{text}"


def cut(text: str, width: int) -> str:
    """The text, shortened to a width."""
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


def best_lines(trials: Sequence[Trial], width: int, blocks: str) -> list[str]:
    """The best trial so far, and how the best value rose with the epochs that were recorded."""
    ranked = rank_trials(trials)
    if not ranked or (best := ranked[0].best_epoch) is None:
        return [line("best", "no epoch yet")]
    epochs = sorted((epoch.recorded_at, epoch.val_top1) for trial in trials for epoch in trial.epochs)
    tops, top = list[float](), 0.0
    for _, value in epochs:
        top = max(top, value)
        tops.append(top)
    ends = f"{percent(tops[0])} ", f" {percent(tops[-1])}"
    curve = draw_curve(tops, max(1, min(50, width - sum(map(len, ends)) - 1)), blocks)
    return [
        line("best", f"{name_of(ranked[0])}: validation top-1 {percent(best.val_top1)} after epoch {best.number}"),
        line("", curve.join(ends)),
    ]


def draw_curve(values: Sequence[float], width: int, blocks: str) -> str:
    """Rising values as a line of blocks, at most `width` of them; each stands for the last value of its stretch."""
    num_shown = min(width, len(values))
    shown = [values[(index + 1) * len(values) // num_shown - 1] for index in range(num_shown)]
    low, span = values[0], (values[-1] - values[0]) or 1.0
    return "".join(blocks[min(len(blocks) - 1, int((value - low) / span * len(blocks)))] for value in shown)


def blocks_of(encoding: str | None) -> str:
    """Blocks that a terminal with this encoding can show."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII_BLOCKS
    return BLOCKS


def rung_line(trials: Sequence[Trial], rung: int) -> str:
    """How many trials came to a rung, the best of them there, and how many were stopped."""
    values = [epoch.val_top1 for trial in trials if (epoch := trial.epoch_at(rung)) is not None]
    stopped = sum(trial.status == "stopped" and len(trial.epochs) == rung for trial in trials)
    best = f", best {percent(max(values))}" if values else ""
    return line(f"rung {rung}", f"{len(values)} came{best}; {stopped} stopped")


def left_text(later: Sequence[Trial], now: float) -> str:
    """Time that the trainings after the search still need, at their own pace."""
    done = sum(len(trial.epochs) for trial in later)
    left = sum(max(0, int(trial.config["epochs"]) - len(trial.epochs)) for trial in later if trial.is_unfinished)
    if not done:
        return "not known before the first epoch of a retraining"
    pace = max(0.0, now - min(trial.started_at for trial in later)) / done
    return f"about {duration_text(left * pace)} for the trainings that were begun"


def worker_lines(trainings: Sequence[Trial], now: float) -> list[str]:
    """Each worker's line: its machine, process and GPUs, its training, and how long ago its last epoch ended."""
    lines = []
    for trial in sorted((t for t in trainings if t.status == "running"), key=worker_order):
        last = trial.last_epoch
        worker = last.worker if last is not None else None
        where = "starting" if worker is None else f"{worker.node} {worker.process}"
        if worker is not None and worker.gpus:
            where += f" GPU {worker.gpus}"
        text = f"{where:<22} {name_of(trial)}, "
        if last is None:
            text += f"before its first epoch, for {duration_text(max(0.0, now - trial.started_at))}"
        else:
            top1 = last.metrics.get("val_top1")
            text += f"epoch {last.number} of {trial.config['epochs']}" + (f", {percent(top1)}" if top1 else "")
            text += f", {duration_text(max(0.0, now - last.recorded_at))} ago"
        lines.append(text)
    return lines or ["no worker trains now"]


def worker_order(trial: Trial) -> tuple[str, int, int]:
    """Sort key: by machine and process, those that have just begun last."""
    worker = trial.last_epoch.worker if trial.last_epoch is not None else None
    return ("~", 0, trial.number) if worker is None else (worker.node, worker.process, trial.number)


def is_finished(run: RunDirectory, facts: Facts, history: History) -> bool:
    """Whether a resume would find nothing to do."""
    return describe_resume(run, history, facts).startswith("find nothing to do")
