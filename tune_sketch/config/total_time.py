"""Divides --total-time before a search: decoding, search, retraining, and test with report."""

from dataclasses import dataclass

from tune_sketch.formatting import duration_text

# Of what is left for search and retraining. Each tenth costs the network a little, see
# benchmarks/results/total_time-cpu.md; with this one nearly all are retrained once there is time for eight trainings.
RETRAINING_SHARE = 0.2
# Of the same, for the last step at most; where it would need more it is shorter. It brings more points than a search
# loses that is shorter by so much, see the same page; with time for less than two trainings, about as many.
LAST_STEP_SHARE = 0.2
# Epochs of the last step over those of the network that goes on: the longest that was measured, and the best, see
# benchmarks/results/last_step-cpu.md.
LAST_STEP_LENGTH = 1.0
# Time is kept for no more than this, for which the shares were measured, and for no less than the other: a tenth brings
# little. What time is left for beyond it is taken.
KEPT_LAST_STEP_LENGTH, LEAST_LAST_STEP_LENGTH = 0.4, 0.2
START_SECONDS = 5.0  # until a process trains, as long as none was measured
ENDING_STARTS = 2  # test and report in starts of a process: one that tests; torch, plotting and figures here
REPORT_SECONDS = 10.0  # and beside them, at least: two dozen figures, some with forests of a hundred trials
MOST_ENDING = 1 / 3  # of all the time, kept for test and report before anything was measured


@dataclass(frozen=True)
class Division:
    """How --total-time is divided, in seconds. What retraining does not need is the search's."""

    total_seconds: float
    preparation_seconds: float  # decoding and all else before the search, as it was
    retraining_seconds: float  # at most
    ending_seconds: float  # test and report, as estimated before anything was measured
    last_step_seconds: float = 0.0  # at most

    @property
    def search_seconds(self) -> float:
        """At least so long may the search take; 0 where there is no time for it."""
        others = self.preparation_seconds + self.retraining_seconds + self.last_step_seconds + self.ending_seconds
        return max(0.0, self.total_seconds - others)


def divide(total_seconds: float, preparation_seconds: float, *, last_step: bool) -> Division:
    """The division of a time, of which so much was spent on preparation."""
    ending = min(ENDING_STARTS * START_SECONDS + REPORT_SECONDS, MOST_ENDING * total_seconds)
    left = max(0.0, total_seconds - preparation_seconds - ending)
    return Division(
        total_seconds, preparation_seconds, RETRAINING_SHARE * left, ending, LAST_STEP_SHARE * left * last_step
    )


def division_text(division: Division) -> str:
    """The division in words."""
    last_step = f", {duration_text(division.last_step_seconds)} of last step" if division.last_step_seconds else ""
    return (
        f"{duration_text(division.total_seconds)}: {duration_text(division.preparation_seconds)} of preparation, "
        f"at least {duration_text(division.search_seconds)} of search, at most "
        f"{duration_text(division.retraining_seconds)} of retraining{last_step}, about "
        f"{duration_text(division.ending_seconds)} of test and report"
    )
