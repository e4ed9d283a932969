"""Prepares users' text for figures: no formulas, no empty boxes, in the fonts that this machine has."""

import contextlib
import io
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from tune_sketch.data.names import escape_character, written_name

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

MOST_LETTERS = 40
MOST_DRAWN_AT_ONCE = 50
FIRST_FAMILY = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Arabic and many symbols
# Fonts that claim characters which they only draw boxes or other signs for.
_NOT_FOR_TEXT = ("Last Resort", "LastResort", "Adobe Blank", "STIXNonUnicode", "STIXSize", "cm")

# matplotlib takes a second to import, which only what draws should pay.


def figure_text(text: str, most: int = MOST_LETTERS) -> str:
    r"""The text as it is drawn: at most that many letters, a dollar a dollar, a character without a font as \u732b."""
    letters = [_drawable(character) for character in written_name(text)]
    while len(letters) > 1 and sum(map(len, letters)) > most:
        letters = [*letters[:-2], "…"]
    return "".join(letters).replace("$", r"\$")  # two dollars would begin and end a formula


def class_text(name: str, most: int = MOST_LETTERS) -> str:
    """A class's name as figures show it, of at most that many letters."""
    return figure_text(name.replace("_", " "), most)


def check_drawable(names: Sequence[str]) -> None:
    """Draw every class's name, as a report will. Raises ValueError with those that fail or bring a warning."""
    from matplotlib.figure import Figure

    for start in range(0, len(names), MOST_DRAWN_AT_ONCE):
        some = names[start : start + MOST_DRAWN_AT_ONCE]
        try:
            with warnings.catch_warnings(), figure_fonts(some):
                warnings.simplefilter("error")
                figure = Figure(figsize=(7.0, 5.0), layout="constrained")
                axis = figure.subplots()
                axis.set_xticks([])
                axis.set_yticks(range(len(some)), [class_text(name) for name in some], fontsize=8)
                figure.savefig(io.BytesIO(), format="png")
        except (ValueError, RuntimeError, Warning) as error:
            shown = ", ".join(map(ascii, some[:5])) + (", ..." if len(some) > 5 else "")
            raise ValueError(f"the report cannot draw the names of these classes: {shown} ({error})") from error


@contextlib.contextmanager
def figure_fonts(texts: Iterable[str] = ()) -> Iterator[None]:
    """Within it matplotlib draws these texts with all the fonts that they need, whatever the user's own style is."""
    from matplotlib import rc_context

    families = _families_for("".join(map(written_name, texts)))
    with rc_context({"font.family": families, "text.usetex": False}):
        yield


def _drawable(character: str) -> str:
    if character.isascii() or _family_of(character) is not None:
        return character
    if unicodedata.category(character) == "Cf":  # a joiner or the like, which shows nothing by itself
        return ""
    return escape_character(character)


def _families_for(text: str) -> list[str]:
    """The families that draw a text, the usual one first."""
    found = {_family_of(character) for character in sorted(set(text)) if not character.isascii()}
    return [FIRST_FAMILY, *sorted(name for name in found if name not in (None, FIRST_FAMILY))]


@lru_cache(maxsize=65536)
def _family_of(character: str) -> str | None:
    """The first family with a glyph for the character, or None."""
    return next((family for family, path in _font_files() if _open_font(path).get_char_index(ord(character))), None)


@lru_cache(maxsize=64)
def _open_font(path: str) -> "FT2Font":
    from matplotlib.ft2font import FT2Font

    return FT2Font(path)


@lru_cache(maxsize=1)
def _font_files() -> list[tuple[str, str]]:
    """(family, file) of the upright fonts of usual weight: the usual family first, then those without serifs."""
    from matplotlib.font_manager import fontManager

    files = {
        entry.name: entry.fname
        for entry in fontManager.ttflist
        if (entry.style, entry.weight, entry.stretch) == ("normal", 400, "normal")
        and not entry.name.startswith(_NOT_FOR_TEXT)
    }
    return sorted(files.items(), key=lambda item: (item[0] != FIRST_FAMILY, "Sans" not in item[0], item[0]))
