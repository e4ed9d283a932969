"""Shows the progress of long work as one line on stderr."""

import sys
import time


class Progress:
    """Counts finished pieces. Redraws at most ten times a second; without a terminal it writes one line at the end."""

    def __init__(self, what: str, total: int, shown: bool = True) -> None:
        self.what, self.total, self.shown = what, total, shown
        self.done = 0
        self._start_seconds = time.monotonic()
        self._drawn_seconds = 0.0

    def show(self, done: int) -> None:
        """Say that `done` pieces are finished."""
        self.done = done
        now = time.monotonic()
        if self.shown and sys.stderr.isatty() and now - self._drawn_seconds >= 0.1:
            self._drawn_seconds = now
            sys.stderr.write("\r" + self._describe())
            sys.stderr.flush()

    def close(self) -> None:
        """Write the last state and end the line."""
        if self.shown:
            sys.stderr.write(("\r" if sys.stderr.isatty() else "") + self._describe() + "\n")
            sys.stderr.flush()

    def _describe(self) -> str:
        seconds = max(time.monotonic() - self._start_seconds, 1e-9)
        per_second = self.done / seconds
        filled = 24 * self.done // max(self.total, 1)
        left = f", {(self.total - self.done) / per_second:.0f} s left" if 0 < self.done < self.total else ""
        return (
            f"{self.what} [{'#' * filled}{'.' * (24 - filled)}] {self.done:,} of {self.total:,} "
            f"in {seconds:.1f} s ({per_second:,.0f}/s{left})    "
        )
