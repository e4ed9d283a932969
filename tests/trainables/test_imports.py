"""Imports in trainables: no circle, and only the shell knows Ray."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREFIX = "tune_sketch.trainables"
FILES = {
    ".".join(("tune_sketch", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in (ROOT / "trainables").rglob("*.py")
}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            for name in node.names:
                module = f"{node.module}.{name.name}"
                yield module if module in FILES else node.module


def test_no_import_goes_in_a_circle() -> None:
    graph = {name: {other for other in imported(path) if other in FILES} for name, path in FILES.items()}
    assert graph[f"{PREFIX}.trial"] >= {f"{PREFIX}.job"}, "imports inside functions count"
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError with the circle
    assert set(order) == set(FILES)


def test_only_the_shell_imports_ray() -> None:
    knows_ray = {name for name, path in FILES.items() if any(m.split(".")[0] == "ray" for m in imported(path))}
    assert knows_ray == {f"{PREFIX}.trial"}
