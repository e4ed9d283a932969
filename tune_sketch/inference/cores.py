"""Leaves a core of the machine to other programs, as a browser that shows the drawing page is one."""

import os

from tune_sketch.data.workers import count_cores


def leave_a_core_free() -> None:
    """Before torch is imported: it computes with a thread fewer than there are cores, unless OMP_NUM_THREADS is set.

    Its threads wait for each other at every operation: with one on the core of a busy program the drawing page's
    answer took sixty times as long (benchmarks/results/packing-cpu.md shows the same in trainings).
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, count_cores() - 1)))
