"""Names of classes and drawings: one rule for how they are written, compared, and kept harmless.

A name comes from a file system and may hold anything. It is recorded as text that any file, terminal and program takes:
accents composed (NFC: macOS keeps "é" as two characters), and what cannot be shown as an escape such as \\x0a or \\xe9
(control characters, bytes that are no UTF-8, marks that turn the text's direction, spaces at either end). The files
themselves are opened by their own names.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TypeVar

# Marks that turn the direction of what follows, beyond the name's end: embeddings, overrides, isolates.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_HIDDEN_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are no UTF-8, line and paragraph ends
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠].", re.DOTALL)  # begins what a spreadsheet computes
_NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?", re.IGNORECASE)
Value = TypeVar("Value")


def written_name(name: str) -> str:
    """A name, or a path of names, as it is recorded, printed and compared. A second time it changes nothing."""
    return "/".join(map(_written_part, unicodedata.normalize("NFC", name).split("/")))


def _written_part(part: str) -> str:
    text = "".join(map(_visible, part))
    has_ink = any(unicodedata.category(character)[0] in "LNPSC" and not _is_format(character) for character in text)
    if not has_ink:
        return "".join(map(escape_character, text))
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())  # spaces there are seen by nobody
    return "".join(map(escape_character, text[:start])) + text[start:end] + "".join(map(escape_character, text[end:]))


def written_names(names: Mapping[str, Value]) -> dict[str, Value]:
    """The mapping by written names. Raises ValueError that shows the names that are written alike."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(written_name(name), name)
        if other != name:
            raise ValueError(
                f"two classes have the same name {written_name(name)!r}, written as {other!a} and {name!a}: "
                "put them together, or rename one"
            )
    return {written_name(name): value for name, value in names.items()}


def written_lines(text: str) -> str:
    """A message of several lines as it may be printed: no name in it moves the cursor or changes colours."""
    return "\n".join("\t".join("".join(map(_visible, part)) for part in line.split("\t")) for line in text.split("\n"))


def _visible(character: str) -> str:
    is_hidden = unicodedata.category(character) in _HIDDEN_CATEGORIES or _TURNING.match(character)
    return escape_character(character) if is_hidden else character


def _is_format(character: str) -> bool:
    return unicodedata.category(character) == "Cf"  # joiners and the like, which show nothing by themselves


def escape_character(character: str) -> str:
    r"""\xe9 of a byte or a low character, else \u2028 or \U0001f600."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def to_cell(value: Value) -> Value | str:
    """A value as it is written to a CSV file: text that a spreadsheet would run as a formula gets an apostrophe."""
    if isinstance(value, str) and _FORMULA.match(value.lstrip("'")) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value


def from_cell(text: str) -> str:
    """The text that `to_cell` wrote."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text.lstrip("'")) else text


def to_cells(values: Iterable[Value]) -> list[Value | str]:
    """A row of a CSV file."""
    return [to_cell(value) for value in values]
