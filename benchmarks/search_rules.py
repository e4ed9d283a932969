"""What the parts of the stopping rule gain, on the tasks for choosing: python -m benchmarks.search_rules.

... rows --seeds 6 --seconds 280   # appends what is missing
... report                         # each rule against Ray's ASHA, with the default sampler
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from benchmarks import opponents, search_quality
from benchmarks.curves.tasks import load_tasks
from benchmarks.opponents import Method
from benchmarks.search_quality import read_rows, run_missing
from benchmarks.search_quality_report import compute_regrets, interval, machine, mean_regret, pair
from tune_sketch.samplers.incumbent import IncumbentSampler
from tune_sketch.schedulers.asha import ASHA, PatientASHA

ROWS = Path(__file__).parent / "results" / "search_rules-cpu.csv"
WORKERS = (1, 2, 4, 8)
TIMES = (1.0, 2.0, 4.0, 8.0)
BASE, SHIPPED = "ASHA as Ray has it", "all three (shipped)"


@dataclass(frozen=True)
class Impatient(PatientASHA):
    """The shipped rule, but nobody waits."""

    def decide(self, trial, trials, at_end=False):  # type: ignore[no-untyped-def]
        """As at the end, where nobody waits."""
        return super().decide(trial, trials, at_end=True)


@dataclass(frozen=True)
class AheadAlone(Impatient):
    """ASHA, which also counts those that are ahead already."""

    compare = ASHA.compare


@dataclass(frozen=True)
class ByQuantile(PatientASHA):
    """The shipped rule with ASHA's quantile in place of whole numbers."""

    compare = ASHA.compare


RULES: dict[str, type[ASHA]] = {
    BASE: ASHA,
    "trials that are ahead with fewer epochs count": AheadAlone,
    "these count and the first at a rung wait": ByQuantile,
    "these count and the best n // 3 of n go on": Impatient,
    SHIPPED: PatientASHA,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate what is missing, or write the table; 1 where the shipped rule is certainly worse than ASHA."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["rows", "report"], default="report")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=280.0, help="begin no search later than this")
    given = parser.parse_args(argv)
    if given.what == "report":
        return write_report()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search_quality.TIMES.update(dict.fromkeys(WORKERS, TIMES))
    opponents.METHODS.update({name: Method(IncumbentSampler, make_rule=rule) for name, rule in RULES.items()})
    tasks = list(load_tasks("choose").values())
    missing = run_missing(ROWS, tasks, list(RULES), WORKERS, range(given.seeds), given.seconds)
    print(f"{missing} searches missing")
    return 0


def write_report() -> int:
    """Write a line for each rule, number of workers and time."""
    regrets, code = compute_regrets(read_rows(ROWS)), 0
    lines = [
        "# When a trial is stopped at a rung, on the tasks for choosing",
        "",
        f"`python -m benchmarks.search_rules`, with the default sampler; {machine()}.",
        "Regret, t and intervals as in [search_quality-cpu.md](search_quality-cpu.md), which judges the shipped rule",
        "on other tasks.",
        "",
        f"| rule | W | t | regret | advantage over {BASE} [95 %] | n pairs |",
        "|---|---|---|---|---|---|",
    ]
    for name in RULES:
        for method, workers, t in sorted(key for key in regrets if key[0] == name):
            pairs = pair(regrets[method, workers, t], regrets[BASE, workers, t])
            mean, low, high = interval(pairs)
            gain = "" if name == BASE else f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
            regret = mean_regret(regrets[method, workers, t])
            lines.append(f"| {name} | {workers:g} | {t:g} | {regret:.3f} | {gain} | {sum(map(len, pairs))} |")
            code |= name == SHIPPED and high < 0
    ROWS.with_suffix(".md").write_text("\n".join([*lines, ""]))
    print("\n".join(lines))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
