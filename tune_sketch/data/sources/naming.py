"""Gives drawings the names that are recorded, and says which two would have the same one."""

from collections.abc import Sequence
from dataclasses import replace

from tune_sketch.data.formats.base import Drawing
from tune_sketch.data.names import written_name
from tune_sketch.data.request import Problem


def name_drawings(drawings: Sequence[Drawing], problems: list[Problem]) -> list[Drawing]:
    """The drawings by their written names; of two that are written alike the second is a problem."""
    known: dict[str, str] = {}
    named = []
    for drawing in drawings:
        name = written_name(drawing.name)
        if known.setdefault(name, drawing.name) == drawing.name:
            group = written_name(drawing.group)
            is_plain = (name, group) == (drawing.name, drawing.group)
            named.append(drawing if is_plain else replace(drawing, name=name, group=group))
        else:
            problems.append(Problem(ascii(drawing.name), f"has the same name as {known[name]!a}: rename one"))
    return named
