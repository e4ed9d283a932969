"""Decodes pictures of risky formats in a process of their own, which is ended when it takes too long or too much.

An SVG is a program for a renderer; TIFF, AVIF and HEIC have decoders in C of which new holes are found every year. What
they do to their process is a bad drawing here, and no end of a search.
"""

import contextlib
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from tune_sketch.data.pixels import BadDrawingError

MAX_SECONDS = 30.0  # of one picture
MAX_MEMORY_BYTES = 3 * 2**30  # of the process: a picture of the most pixels takes a third of it
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
REQUEST = struct.Struct("<?Q")  # whether it is SVG, bytes that follow
ANSWER = struct.Struct("<??IIQ")  # whether it was read, whether the file holds others, width, height, bytes that follow
START = "import sys; sys.path[:] = {path!r}; from tune_sketch.data.formats.guarded import serve; serve()"


class Gray(NamedTuple):
    """A picture's pixels, a byte each, row by row."""

    width: int
    height: int
    pixels: bytes
    is_first_of_many: bool


def is_risky(content: bytes, is_svg: bool) -> bool:
    """Whether a picture is to be decoded in a process of its own."""
    return is_svg or content[4:8] == b"ftyp" or content[:4] in TIFF_STARTS


class Guard:
    """A process that decodes one picture after the other. It ends with us, since its input does."""

    def __init__(self) -> None:
        self.of_process = os.getpid()
        # The modules that we have, from the same places: a user's own folder is not searched first.
        self.process = subprocess.Popen(
            [sys.executable, "-c", START.format(path=[entry for entry in sys.path if entry])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # of decoders in C
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for us
        )

    def decode(self, content: bytes, is_svg: bool) -> Gray:
        """The picture. Raises BadDrawingError, after which this process may be of no more use."""
        deadline = time.monotonic() + MAX_SECONDS
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(REQUEST.pack(is_svg, len(content)) + content)
            self.process.stdin.flush()
            is_read, is_first, width, height, num_bytes = ANSWER.unpack(self.receive(ANSWER.size, deadline))
            answer = self.receive(num_bytes, deadline)
        except (EOFError, BrokenPipeError):
            self.end()
            raise BadDrawingError("damaged: its decoder broke down") from None
        except TimeoutError:
            self.end()
            raise BadDrawingError(f"takes more than {MAX_SECONDS:.0f} s to decode") from None
        except BaseException:  # Ctrl-C: an answer that nobody waits for must not be taken for the next one's
            self.end()
            raise
        if not is_read:
            raise BadDrawingError(answer.decode("utf-8", "replace"))
        return Gray(width, height, answer, is_first)

    def receive(self, num_bytes: int, deadline: float) -> bytes:
        """So many bytes of its output. Raises TimeoutError, and EOFError when it has ended."""
        assert self.process.stdout is not None
        pieces = []
        while num_bytes:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            piece = os.read(self.process.stdout.fileno(), num_bytes)
            if not piece:
                raise EOFError
            pieces.append(piece)
            num_bytes -= len(piece)
        return b"".join(pieces)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


_lock = threading.Lock()  # one picture at a time
_guard: Guard | None = None


def decode_guarded(content: bytes, is_svg: bool) -> Gray:
    """A picture's pixels, decoded elsewhere. Raises BadDrawingError."""
    global _guard
    with _lock:
        if _guard is None or _guard.of_process != os.getpid() or _guard.process.poll() is not None:
            _guard = Guard()
        return _guard.decode(content, is_svg)


def end_guard() -> None:
    """End the process, which otherwise ends with this one."""
    global _guard
    with _lock:
        if _guard is not None and _guard.of_process == os.getpid():
            _guard.end()
        _guard = None


def serve() -> None:
    """The loop of the process: read a request, decode, answer, until there are no more."""
    limit_process()
    from tune_sketch.data.formats.gray import MANY_FRAMES, open_gray_here

    def decode(content: bytes, is_svg: bool) -> Gray:
        picture = open_gray_here(content, is_svg)
        return Gray(picture.width, picture.height, picture.tobytes(), bool(picture.info.get(MANY_FRAMES, False)))

    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not be taken for an answer
    while answer_one(requests, answers, decode):
        pass


def answer_one(requests: BinaryIO, answers: BinaryIO, decode: Callable[[bytes, bool], Gray]) -> bool:
    """Whether there was another request."""
    head = requests.read(REQUEST.size)
    if len(head) < REQUEST.size:
        return False
    is_svg, num_bytes = REQUEST.unpack(head)
    signal.alarm(int(MAX_SECONDS) + 5)  # if nobody is left to end us
    try:
        gray = decode(requests.read(num_bytes), is_svg)
        answers.write(ANSWER.pack(True, gray.is_first_of_many, gray.width, gray.height, len(gray.pixels)))
        answers.write(gray.pixels)
    except MemoryError:
        reason = f"takes more than {MAX_MEMORY_BYTES // 2**30} GiB of memory to decode".encode()
        answers.write(ANSWER.pack(False, False, 0, 0, len(reason)) + reason)
    except BadDrawingError as error:
        reason = str(error).encode("utf-8", "replace")
        answers.write(ANSWER.pack(False, False, 0, 0, len(reason)) + reason)
    answers.flush()
    signal.alarm(0)
    return True


def limit_process() -> None:
    """Bound the memory of this process, and the files that it could write (ctypes looks for cairo with one)."""
    most_of = {
        resource.RLIMIT_AS: MAX_MEMORY_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 2**20,
    }
    for what, most in most_of.items():
        with contextlib.suppress(OSError, ValueError):  # macOS knows no limit of the address space
            resource.setrlimit(what, (most, most))
