"""Storage for tests, as a file system of fsspec: slow, torn or damaged as told, and it writes down what was read."""

import json
import time
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem


class BadStorage(LocalFileSystem):
    """`bad:///path` is /path. A file behaviour.json beside the data may hold {"seconds": of each piece, "tear": every
    n-th piece fails, "damage": the n-th piece is wrong}; reads.txt gets "name start" for each piece that came."""

    protocol = "bad"
    cachable = False

    @classmethod
    def _strip_protocol(cls, path):
        """Without bad://, which fsspec before 2025 leaves on for a protocol that it does not know."""
        return super()._strip_protocol(str(path).removeprefix("bad://"))

    def cat_file(self, path, start=None, end=None, **kwargs):
        file = Path(self._strip_protocol(path))
        behaviour = json.loads((file.parent / "behaviour.json").read_text())
        time.sleep(behaviour.get("seconds", 0))
        with (file.parent / "asked.txt").open("a+") as asked:
            asked.write(".")
            number = asked.tell()
        if behaviour.get("tear") and number % behaviour["tear"] == 0:
            raise ConnectionResetError("the line is torn")
        piece = super().cat_file(path, start=start, end=end, **kwargs)
        with (file.parent / "reads.txt").open("a") as reads:
            reads.write(f"{file.name} {start or 0}\n")
        if number == behaviour.get("damage"):
            return bytes(255 - byte for byte in piece)
        return piece


fsspec.register_implementation("bad", BadStorage, clobber=True)
