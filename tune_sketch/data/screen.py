"""Prints what a command has to say, on any terminal: no name in it fails, and none steers the terminal."""

import io
import signal
import sys
import threading

from tune_sketch.data.names import written_lines


def prepare_screen() -> None:
    """Let standard output escape what the terminal's encoding lacks, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def hear_sigterm() -> None:
    """Let SIGTERM end a command as Ctrl-C does, until there is something that winds up.

    Both were kept back while a command began again, see backend/restart.py: then KeyboardInterrupt is raised here.
    """
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def print_error(error: BaseException) -> int:
    """Say what the user can mend. The command's exit code."""
    print(f"error: {written_lines(str(error))}", file=sys.stderr)
    return 2
