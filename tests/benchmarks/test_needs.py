"""The benchmarks' dependencies: one extra brings them all, and a missing one is named."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import benchmarks
from benchmarks.curves.tasks import SHARED
from benchmarks.real_weights import LITE_PACKAGE, PACKAGE

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN_ENVIRONMENTS = {ROOT / "benchmarks" / name / "tools" for name in ("against_tools", "other_searchers")}


def names_of(requirements: list[str]) -> set[str]:
    """Normalised names of distributions."""
    return {re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", text)[0]).lower() for text in requirements}


def modules_needed() -> dict[str, set[str]]:
    """{module that is neither ours nor Python's: files that import it}, of benchmarks and the tests' parts they use."""
    files = [path for path in (ROOT / "benchmarks").rglob("*.py") if path.parent not in OWN_ENVIRONMENTS]
    found: dict[str, set[str]] = {}
    for path in files:  # grows
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                part = ROOT / f"{name.replace('.', '/')}.py"
                if top == "tests" and part.exists() and part not in files:
                    files.append(part)
                elif top not in sys.stdlib_module_names and top not in ("benchmarks", "tests", "tune_sketch"):
                    found.setdefault(top, set()).add(str(path.relative_to(ROOT)))
    return found


def test_all_that_benchmarks_import_comes_with_the_program_or_with_one_extra() -> None:
    known = importlib.metadata.packages_distributions()
    allowed = names_of(PROJECT["dependencies"]) | names_of(PROJECT["optional-dependencies"]["bench"])
    needed = modules_needed()
    assert {"kornia", "onnxruntime", "selenium", "torch"} <= needed.keys()
    missing = {name: files for name, files in needed.items() if not names_of(known.get(name, [name])) & allowed}
    assert missing == {}


def test_the_packages_of_weights_are_in_it_too() -> None:
    assert {PACKAGE, LITE_PACKAGE} <= names_of(PROJECT["optional-dependencies"]["bench"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'selenium.webdriver'", name="selenium.webdriver"), "needs selenium: pip"),
        (importlib.metadata.PackageNotFoundError("kornia"), "needs kornia: pip install '.[bench]'"),
        (ModuleNotFoundError("No module named 'benchmarks.x'", name="benchmarks.x"), "No module named 'benchmarks.x'"),
        (ValueError("no such task"), "ValueError: no such task"),
    ],
)
def test_what_is_missing_is_named_and_nothing_else_is_hidden(
    error: Exception, said: str, capsys: pytest.CaptureFixture
) -> None:
    benchmarks.name_the_extra(type(error), error, None)
    assert said in capsys.readouterr().err


@pytest.mark.skipif(not SHARED.exists(), reason="the curves that need onnxruntime are not there")
def test_the_benchmark_of_searches_names_the_extra_that_it_lacks() -> None:
    code = "import runpy, sys; sys.modules['onnxruntime'] = None; sys.argv = ['search_quality', '--quick']; "
    code += "runpy.run_module('benchmarks.search_quality', run_name='__main__')"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert answer.returncode == 1
    assert answer.stderr == "error: this needs onnxruntime: pip install '.[bench]'\n"
    assert answer.stdout == ""
