"""Tells the time of a run, which goes on evenly and never back, however the clock of a machine is set."""

import time

MOST_AHEAD_SECONDS = 366 * 86400.0  # what is recorded as further ahead is damaged, and no clock that was wrong


class SteadyClock:
    """Seconds since 1970: what the machine says at first, and from then on what has really passed.

    not_before: the last moment that earlier sessions recorded. Where this machine's clock is behind it, by a day or by
    a second, it begins there: what happened later has the later time. The order of records is what samplers and
    readers go by.
    """

    def __init__(self, not_before: float = 0.0) -> None:
        now = time.time()
        first = max(now, not_before) if not_before < now + MOST_AHEAD_SECONDS else now
        self.offset_seconds = first - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self.offset_seconds
