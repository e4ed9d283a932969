"""The shape of the house: who may import whom, no circles, short files, one job said in each first line."""

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.support.packages import FILES, LINKED, ROOT

STDLIB = set(sys.stdlib_module_names)
PRONOUN = re.compile(r"(?:What|Who|Whom|Whose|That|Which)\b")


def module_of(path):
    """The import name of a file."""
    relative = path.relative_to(ROOT).with_suffix("")
    parts = relative.parts if relative.parts[0] == "tune_sketch" else ("tune_sketch", *relative.parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported(path):
    """Every module that a file imports, also inside functions; not what only type checkers see."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield full if full in MODULES else node.module


def package_of(module):
    """ "tune_sketch.backend" of "tune_sketch.backend.allocation"; the name itself for what lies at the root."""
    parts = module.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 or (ROOT / "tune_sketch" / parts[-1]).is_dir() else module


def test_no_import_circle():
    """Between files, deferred imports counted."""
    edges = {module: {name for name in imported(path) if name in MODULES} for module, path in MODULES.items()}
    done, on_way = set(), []

    def visit(module):
        assert module not in on_way, " -> ".join([*on_way[on_way.index(module) :], module])
        if module not in done:
            on_way.append(module)
            for name in sorted(edges[module] - {module}):
                visit(name)
            done.add(on_way.pop())

    for module in sorted(edges):
        visit(module)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    found = set(imported(path))
    roots = {name.split(".")[0] for name in found}
    packages = {package_of(name) for name in found if name.split(".")[0] == "tune_sketch"}
    own, package = module_of(path), package_of(module_of(path))
    assert "tune_sketch" not in found, "the package itself leads to the API, and so to everything"
    assert not roots & set(LINKED), "import them as tune_sketch.NAME: a user's own file may have the plain name"
    if package != "tune_sketch.backend" and own != "tune_sketch.trainables.trial":
        assert "ray" not in roots
    if package != "tune_sketch.analysis" and own not in ("tune_sketch.run", "tune_sketch.report"):
        assert "tune_sketch.analysis" not in packages
    allowed = {
        "tune_sketch.search_spaces": {"tune_sketch.search_spaces"},
        "tune_sketch.trainables": {"tune_sketch.trainables", "tune_sketch.events", "tune_sketch.data"},
        "tune_sketch.data": {"tune_sketch.data"},
        "tune_sketch.samplers": {
            *("tune_sketch.samplers", "tune_sketch.events", "tune_sketch.schedulers", "tune_sketch.search_spaces"),
            *("tune_sketch.storage", "tune_sketch.config"),  # the history, and seeds
        },
    }
    if package in allowed:
        assert packages <= allowed[package] | {"tune_sketch"}
    if package == "tune_sketch.search_spaces":
        assert roots - STDLIB <= {"optuna", "tune_sketch"}
    if package in ("tune_sketch.trainables", "tune_sketch.analysis"):
        assert "optuna" not in roots or path.name == "importance.py"
    if package == "tune_sketch.data":
        assert not roots & {"torch", "optuna"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_and_says_its_job_in_its_first_line(path):
    text = path.read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()[0]) > 30
    assert text.count("\n") <= 330


def test_what_travels_is_typed():
    """Dictionaries with any values are for what really is arbitrary JSON."""
    count = sum(path.read_text().count("dict[str, Any]") for path in FILES)
    assert count <= 60, f"{count} times dict[str, Any]"


def run_python(code):
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_flags_are_checked_without_torch_and_ray():
    """Errors in the flags come fast: neither is imported to find them."""
    code = "import sys, tune_sketch.search; print([m for m in ('torch', 'ray', 'sqlalchemy') if m in sys.modules])"
    assert run_python(code) == "[]"


def test_importing_the_package_does_nothing_else():
    """The Python interface has no side effects on import: no environment, no path, no heavy module."""
    code = """
import os, sys
before = dict(os.environ), list(sys.path)
import tune_sketch
from tune_sketch import Settings, open_run, search
assert (dict(os.environ), list(sys.path)) == before
print([m for m in ("torch", "ray", "pandas", "matplotlib") if m in sys.modules])
"""
    assert run_python(code) == "[]"


def test_the_driver_needs_no_torch_before_its_first_trial(tmp_path):
    """From the flags to the first job: torch takes seconds to import, for which the first trial would wait."""
    code = f"""
import sys
from pathlib import Path
from tune_sketch.backend.jobs import job_of
from tune_sketch.backend.base import Workers
from tune_sketch.config.flags import make_settings
from tune_sketch.config.plan import prepare_inputs
from tune_sketch.new_run import create_run
from tune_sketch.samplers import SAMPLERS
import tune_sketch.backend.ray_tune, tune_sketch.callbacks.tensorboard
settings = make_settings("resnet50", {{"weights": "none", "classes": 3, "per_class": 8, "image_px": 32}})
run = create_run(Path({str(tmp_path)!r}) / "run", settings, prepare_inputs(settings), None)
print([m for m in ("torch", "torchvision") if m in sys.modules])
"""
    assert run_python(code) == "[]"


def test_every_folder_says_what_it_holds():
    """The listing tells the architecture: each package begins with one sentence."""
    sentences = defaultdict(list)
    for path in FILES:
        if path.name == "__init__.py":
            sentences[ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]].append(path)
    assert all(len(paths) == 1 for paths in sentences.values())


def documented(tree):
    """Every docstring of a file, with the name of what it belongs to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", "the module"), text


@pytest.mark.parametrize(("text", "is_right"), [("What it costs.", False), ("Whatever it costs.", True)])
def test_a_docstring_that_begins_with_a_pronoun_is_seen(text, is_right):
    assert (PRONOUN.match(text) is None) is is_right


def test_a_docstring_begins_with_a_noun_or_a_verb():
    """In the product, the benchmarks and the tests."""
    own = [path for folder in ("benchmarks", "tests", "examples", "docs") for path in (ROOT / folder).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}, {name}: {text.splitlines()[0]}"
        for path in [*FILES, *own]
        for name, text in documented(ast.parse(path.read_text()))
        if PRONOUN.match(text)
    ]
    assert found == []


def test_no_test_module_imports_another():
    """Code shared by two of them stands in tests/support or in a conftest."""
    test_modules = [path for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(test_modules) > 100
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in test_modules
        for name in imported(path)
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))
    ]
    assert wrong == []
