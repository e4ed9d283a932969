"""README and docs name only links, commands, flags and files that exist."""

import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors_of, code_of, links_of, page_name

COMMANDS = ("search", "status", "explain", "confirm", "predict", "draw", "export", "data", "report")
OURS = re.compile(
    r"python -m (?P<module>(?:tune_sketch|analysis|benchmarks|tests)\.[\w.]+)"
    rf"|tune-sketch (?P<command>{'|'.join(COMMANDS)})"
)
# Words with which the lines of other programs begin; their flags are not ours.
OTHERS = (
    r"(aws|coverage|gcloud|git|kubectl|make|mypy|optuna-dashboard|pip|pre-commit|python -m pytest|ray|ruff|"
    r"tensorboard|unshare)"
)
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

pages = pytest.mark.parametrize("page", PAGES, ids=page_name)


@cache
def flags_of(module: str) -> frozenset[str]:
    """The flags in a command's help."""
    answer = subprocess.run(
        [sys.executable, "-m", *module.split(), "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return frozenset(FLAG.findall(answer.stdout))


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page_name(page)} links to {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{page_name(page)} links to {link}"


@pages
def test_commands_exist(page: Path) -> None:
    missing = set()
    for code in code_of(page):
        for command in OURS.finditer(code):
            module = command["module"] or f"tune_sketch.{command['command']}"
            if "NAME" not in module and find_spec(module) is None:
                missing.add(command[0])
            if command["command"] and find_spec("tune_sketch.__main__") is None:
                missing.add("tune-sketch")
    assert not missing


@pages
def test_flags_exist(page: Path) -> None:
    """A flag beside a command belongs to it; one that stands alone belongs to any of them."""
    known = frozenset().union(
        *(flags_of(f"tune_sketch.{name}") for name in COMMANDS if find_spec(f"tune_sketch.{name}"))
    )
    unknown = set()
    for code in code_of(page):
        commands = [
            match for match in OURS.finditer(code) if not (match["module"] or "").startswith(("bench", "tests"))
        ]
        if commands:
            module = commands[0]["module"] or f"tune_sketch.{commands[0]['command']}"
            have = flags_of(module) if find_spec(module) else known
            unknown |= set(FLAG.findall(code[commands[0].end() :])) - have
        elif not (re.search(rf"(^|[;&] *)([A-Z_]+=\S+ )*{OTHERS}\b", code) or OURS.search(code)):
            unknown |= set(FLAG.findall(code)) - known
    assert not unknown


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links_of(page)}
        waiting += sorted(target for target in targets - reached if target.suffix == ".md")
    assert set((ROOT / "docs").glob("*.md")) <= reached


def test_every_strategy_and_network_is_described() -> None:
    from tune_sketch.samplers import SAMPLERS
    from tune_sketch.search_spaces import SPACES

    readme = (ROOT / "README.md").read_text()
    strategies = (ROOT / "docs" / "strategies.md").read_text()
    for name in SAMPLERS:
        assert f"`{name}`" in readme
        assert f"| `{name}`" in strategies
    for name in SPACES:
        assert f"`{name}`" in readme


def test_every_result_is_named_as_evidence() -> None:
    named = set(links_of(ROOT / "docs" / "evidence.md"))
    results = sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    assert len(results) > 20
    assert [file.name for file in results if f"../benchmarks/results/{file.name}" not in named] == []


def test_the_citation_is_of_this_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_table_of_data_names_only_tests_that_exist():
    sections = (ROOT / "docs" / "data.md").read_text().split("\n## ")[1:]
    for section in sections:
        file = re.search(r"\(`(tests/\S+\.py)`\)", section.splitlines()[0])[1]
        known = set(re.findall(r"^def (test_\w+)", (ROOT / file).read_text(), re.MULTILINE))
        named = set(re.findall(r"`(test_\w+)`", section))
        assert named
        assert named <= known, f"{file} lacks {named - known}"
