"""Watches how busy a device is while something runs."""

import os
import subprocess
import threading
import time
from types import TracebackType

import torch

SECONDS_BETWEEN = 0.25


class Utilisation:
    """A context in which the device's utilisation is sampled: of a GPU as the driver tells, of a CPU this process's.

    `mean` is a fraction, None where nobody tells (a slice of a card, no nvidia-smi).
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.samples: list[float] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)

    def __enter__(self) -> "Utilisation":
        self.started, self.used = time.perf_counter(), time.process_time()
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop.set()
        self.thread.join()
        if self.device.type == "cpu":
            seconds = time.perf_counter() - self.started
            self.samples = [(time.process_time() - self.used) / seconds / (os.cpu_count() or 1)]

    @property
    def mean(self) -> float | None:
        return sum(self.samples) / len(self.samples) if self.samples else None

    def sample(self) -> None:
        """Ask nvidia-smi several times a second."""
        while self.device.type == "cuda" and not self.stop.wait(SECONDS_BETWEEN):
            (percent,) = ask_nvidia_smi(self.device, "utilization.gpu")
            if percent is not None:
                self.samples.append(percent / 100)


def ask_nvidia_smi(device: torch.device | int, *quantities: str) -> list[float | None]:
    """Readings of the driver about the card that torch calls so; None for those that it does not give.

    A card has another number there where CUDA_VISIBLE_DEVICES hides some, so it is asked for by its identity.
    """
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    command = ["nvidia-smi", f"--id={uuid}", f"--query-gpu={','.join(quantities)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return [None] * len(quantities)
    cells = [cell.strip() for cell in answer.split(",")]
    return [float(cell) if cell.replace(".", "", 1).isdigit() else None for cell in cells]
