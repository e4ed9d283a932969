"""The head to head with other tools: its folder, its scores, its intervals, its table, and what it says is missing."""

import json
import os
import sys
import time

import numpy as np
import pytest
from PIL import Image

from benchmarks.against_tools import __main__ as command
from benchmarks.against_tools import running, tables
from benchmarks.against_tools.__main__ import COLUMNS, Case, budget_of, list_cases, read_arguments, run_case
from benchmarks.against_tools.cases import DATA, OURS, REHEARSAL_DATA, TOOLS, Data, Tool, prepare_folder, request_of
from benchmarks.against_tools.environments import REQUIREMENTS, python_of
from benchmarks.against_tools.running import TOOLS_FOLDER, Budget, run_tool
from benchmarks.against_tools.scoring import compare, from_hex, score_answer, to_hex
from tune_sketch.data import open_data, prepare_data
from tune_sketch.data.splits import split_data
from tune_sketch.storage.files import read_csv, write_csv

SMALL = Data("two classes of doodles", "doodles", "small", per_class=10, num_classes=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare_folder(SMALL, 32, 0, tmp_path_factory.mktemp("tools"))


def answer_of(folder, value):
    """An answer that gives `value(class, file, own class)` for each."""
    classes = sorted((path.name for path in (folder / "train").iterdir()), reverse=True)  # in an order of its own
    files = [f"{file.parent.name}/{file.name}" for file in (folder / "test").glob("*/*.png")]
    rows = {file: [value(name, file.split("/")[0]) for name in classes] for file in files}
    return {"classes": classes, "probabilities": rows}


def test_the_folder_is_our_own_split_as_dark_ink_on_white(folder):
    data = open_data(prepare_data(request_of(SMALL, 32), progress=False))
    splits = split_data(data, protocol="small", split_by="photo", seed=0)
    for name, rows in (("train", splits.train), ("val", splits.validation), ("test", splits.test)):
        found = {f"{path.parent.name}/{path.name}" for path in (folder / name).glob("*/*")}
        assert found == {f"{data.class_names[data.labels[row]]}/{row:06d}.png" for row in rows}
    row = int(splits.test[0])
    picture = Image.open(folder / "test" / data.class_names[data.labels[row]] / f"{row:06d}.png")
    assert np.array_equal(255 - np.asarray(picture), data.images[row])
    assert np.asarray(picture)[0, 0] == 255


def test_each_repetition_has_another_split_and_none_is_made_twice(tmp_path):
    first, second = (prepare_folder(SMALL, 32, seed, tmp_path) for seed in (0, 1))
    names = [{path.name for path in (made / "test").rglob("*.png")} for made in (first, second)]
    assert len(names[0]) == len(names[1]) == 4
    assert names[0] != names[1]
    before = next((first / "test").rglob("*.png")).stat().st_mtime_ns
    assert prepare_folder(SMALL, 32, 0, tmp_path) == first
    assert next((first / "test").rglob("*.png")).stat().st_mtime_ns == before
    (first.parent / "whole").unlink()  # a run that was killed meanwhile is made anew
    prepare_folder(SMALL, 32, 0, tmp_path)
    assert (first.parent / "whole").exists()


def test_our_program_reads_the_folder_as_the_same_split(folder):
    """So a search of ours learns from no drawing that others are tested on."""
    from tune_sketch.data import DataRequest

    data = open_data(prepare_data(DataRequest(str(folder), 32), progress=False))
    splits = split_data(data, protocol="standard", split_by="own", seed=0)
    assert {data.names[row] for row in splits.test} == {
        str(path.relative_to(folder)) for path in (folder / "test").rglob("*.png")
    }
    original = open_data(prepare_data(request_of(SMALL, 32), progress=False))
    for row, name in enumerate(data.names):
        assert np.array_equal(data.images[row], original.images[int(name.split("/")[-1].split(".")[0])])


def test_scores_are_by_name_whatever_the_order_of_the_classes(folder):
    right = score_answer(answer_of(folder, lambda name, own: float(name == own)), folder)
    wrong = score_answer(answer_of(folder, lambda name, own: float(name != own)), folder)
    assert (right.top1, wrong.top1, wrong.top5) == (1.0, 0.0, 1.0)
    assert right.right.shape == (4,)


def test_a_constant_answer_scores_nothing(folder):
    assert score_answer(answer_of(folder, lambda name, own: 0.5), folder).top1 == 0.0


@pytest.mark.parametrize("kind", ["drawing", "class", "number", "more"])
def test_an_answer_that_is_not_whole_is_refused(folder, kind):
    answer = answer_of(folder, lambda name, own: 1.0 if name == own else 0.0)
    file = next(iter(answer["probabilities"]))
    if kind == "drawing":
        del answer["probabilities"][file]
    elif kind == "more":
        answer["probabilities"]["train/other.png"] = [0.0, 1.0]
    elif kind == "class":
        answer["classes"][0] = "a cat"
    else:
        answer["probabilities"][file][0] = float("nan")
    with pytest.raises(ValueError, match="answer"):
        score_answer(answer, folder)


def test_right_and_wrong_survive_the_csv(tmp_path):
    right = np.random.default_rng(0).random(457) < 0.4
    write_csv(tmp_path / "rows.csv", ["right"], [{"right": to_hex(right)}])
    assert np.array_equal(from_hex(read_csv(tmp_path / "rows.csv")[0]["right"], 457), right)


def test_differences_are_paired_over_drawings_and_repetitions():
    ours = {0: np.array([1, 1, 1, 0], bool), 1: np.array([1, 1, 0, 0], bool), 7: np.ones(4, bool)}
    theirs = {0: np.array([1, 0, 0, 0], bool), 1: np.array([0, 1, 1, 0], bool)}
    found = compare(ours, theirs)
    assert found.num_repetitions == 2
    assert found.mean == pytest.approx((2 - 0) / 8)  # two gained, then one each
    assert found.of_drawings[0] < found.mean < found.of_drawings[1]
    assert found.of_repetitions[0] == pytest.approx(0.25 - 12.7062 * 0.25)
    assert compare({0: ours[0]}, {1: theirs[1]}) is None


def row(tool, repetition, right, minutes="30", kind="wall", status="ok"):
    bits = np.arange(100) < right
    return {
        **{"data": "sketchy", "weights": "imagenet", "kind": kind, "minutes": minutes, "tool": tool},
        **{"repetition": str(repetition), "status": status, "top1": f"{right / 100}", "top5": "0.9"},
        **{"num_test": "100", "wall_seconds": "1800", "cpu_seconds": "3000", "others": "0.01"},
        **{"note": "12 epochs", "versions": f"{tool} 1.0", "machine": "2 cores", "right": to_hex(bits)},
    }


def test_the_verdict_is_of_the_best_of_the_others():
    rows = [row("fastai", 0, 40), row("frozen", 0, 30, minutes="", kind="any")]
    lines, is_met = tables.verdicts([*rows, row(OURS, 0, 60)])
    assert is_met
    assert "met; against fastai" in lines[0]
    lines, is_met = tables.verdicts([*rows, row(OURS, 0, 41)])  # ahead, but within chance
    assert not is_met
    assert "MISSED" in lines[0]
    ten = [row("fastai", 0, 40, minutes="10"), row(OURS, 0, 39, minutes="10")]
    assert tables.verdicts(ten)[1]  # behind, but within chance
    ten[1] = row(OURS, 0, 15, minutes="10")
    assert not tables.verdicts(ten)[1]


def test_the_page_has_every_number_and_what_failed():
    rows = [row(OURS, 0, 50), row(OURS, 1, 54), row("fastai", 0, 40), row("fastai", 1, 41)]
    rows += [row("frozen", 0, 30, minutes="", kind="any"), row("ray-tutorial", 0, 0, status="failed: no ray")]
    text = "\n".join(tables.page(rows))
    assert "| tune_sketch, search and retraining | 2 | 52.0 (50.0 to 54.0) |" in text
    assert "| fastai, defaults | 2 | 40.5 (40.0 to 41.0) | 90.0 (90.0 to 90.0) | +11.5 [" in text
    assert "| frozen features + logistic regression | 1 | 30.0" in text
    assert "- Ray Tune's PyTorch tutorial, sketchy, imagenet, 30 minutes, repetition 0: failed: no ray" in text
    assert "fastai 1.0" in text
    assert "100 test drawings in each repetition; 2 cores." in text
    assert text.count("## Sketchy") == 1


def write_tool(tmp_path, monkeypatch, text):
    """A tool whose script is the text, with what it would import beside it."""
    (tmp_path / "job.py").write_text((TOOLS_FOLDER / "job.py").read_text())
    (tmp_path / "some.py").write_text(text)
    monkeypatch.setattr(running, "TOOLS_FOLDER", tmp_path)
    return Tool("some", "some tool", None, ("none",))


SPINS = """
import subprocess, sys, time
from job import Job
job = Job()
spin = "import time\\nwhile time.process_time() < 1: pass"
subprocess.run([sys.executable, "-c", spin], check=True)
classes = job.classes
rows = [[float(name == label) for name in classes] for _, label in job.files("test")]
job.answer(classes, rows, f"{job.used():.3f} {job.num_epochs(1.0)} {job.num_epochs(1000.0)}", ("numpy",))
"""


def test_cpu_time_counts_processes_that_a_tool_starts(folder, tmp_path, monkeypatch):
    tool = write_tool(tmp_path, monkeypatch, SPINS)
    task = {"folder": str(folder), "weights": None, "image_px": 32, "seed": 0}
    measured = run_tool(tool, sys.executable, task, Budget("cpu", 10.0, 99.0), tmp_path / "work")
    used, fitting, least = measured.answer["note"].split()
    assert 1.0 <= float(used) <= measured.cpu_seconds + 0.1
    assert measured.cpu_seconds < 5
    assert int(fitting) == int(10 - float(used))
    assert least == "1"
    assert measured.answer["versions"]["numpy"] == np.__version__
    assert score_answer(measured.answer, folder).top1 == 1.0


def test_a_tool_that_fails_says_why_and_is_tried_again(folder, tmp_path, monkeypatch):
    tool = write_tool(tmp_path, monkeypatch, "raise SystemExit('out of paper')")
    monkeypatch.setitem(TOOLS, "svm", tool)
    failed = run_case(Case("rehearsal", "none", "wall", "1", "svm", 0), [], tmp_path, REHEARSAL_DATA)
    assert "out of paper" in failed["status"]
    path = tmp_path / "against_tools.csv"
    write_csv(path, COLUMNS, [failed])
    assert {command.key_of(r) for r in read_csv(path)} == {Case("rehearsal", "none", "wall", "1", "svm", 0)}


def test_a_tool_that_hangs_is_ended(folder, tmp_path, monkeypatch):
    tool = write_tool(tmp_path, monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr(running, "MORE_SECONDS", 0.5)
    task = {"folder": str(folder), "weights": None, "image_px": 32, "seed": 0}
    start = time.monotonic()
    with pytest.raises(ValueError, match="did not end"):
        run_tool(tool, sys.executable, task, Budget("wall", 0.1, 0.1), tmp_path / "work")
    assert time.monotonic() - start < 60


def test_an_environment_that_cannot_be_made_is_a_visible_row(tmp_path, monkeypatch):
    (tmp_path / "fastai.txt").write_text("no such package==1\n")
    monkeypatch.setattr(
        "benchmarks.against_tools.environments.install",
        lambda folder, requirements: (_ for _ in ()).throw(ValueError("the environment of fastai cannot be made: no")),
    )
    failed = run_case(Case("rehearsal", "none", "wall", "1", "fastai", 0), [], tmp_path, REHEARSAL_DATA)
    assert failed["status"] == "failed: the environment of fastai cannot be made: no"


def test_an_environment_is_made_once_for_what_its_file_says(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        "benchmarks.against_tools.environments.install",
        lambda folder, requirements: (made.append(folder), folder.mkdir(parents=True, exist_ok=True)),
    )
    (tmp_path / "some.txt").write_text("numpy==2.0\n")
    assert python_of("some", tmp_path, tmp_path) == python_of("some", tmp_path, tmp_path)
    assert len(made) == 1
    (tmp_path / "some.txt").write_text("numpy==2.1\n")
    python_of("some", tmp_path, tmp_path)
    assert len(made) == 2
    assert str(python_of(None, tmp_path)) == sys.executable


def test_every_tool_has_its_script_and_only_pinned_versions():
    for tool in TOOLS.values():
        assert (TOOLS_FOLDER / f"{tool.script}.py").is_file()
        if tool.environment is not None:
            lines = (REQUIREMENTS / f"{tool.environment}.txt").read_text().splitlines()
            assert all("==" in line for line in lines if line and not line.startswith("#"))


def test_ours_goes_first_and_gives_the_others_its_cpu_time():
    cases = list_cases(read_arguments(["--cpu-minutes", "6", "--data", "sketchy", "--repetitions", "2"]))
    assert len(cases) == len(set(cases)) == 2 * (5 + 8)  # with ImageNet's weights, and from scratch
    assert {case.tool for case in cases if case.weights == "imagenet"}.isdisjoint({"svm", "ultralytics", "autogluon"})
    with_budget = [case for case in cases if case.kind == "cpu"]
    assert with_budget[0].tool == OURS
    other = next(case for case in with_budget if case.tool == "fastai" and case.weights == "imagenet")
    with pytest.raises(ValueError, match="ours"):
        budget_of(other, [])
    ours = row(OURS, 0, 50, minutes="6", kind="cpu") | {"cpu_seconds": "333.5", "wall_seconds": "200"}
    assert budget_of(other, [ours]) == Budget("cpu", 333.5, 200.0)
    assert budget_of(other._replace(kind="wall", minutes="10"), []) == Budget("wall", 600.0, 600.0)
    num_cores = len(os.sched_getaffinity(0))
    assert budget_of(other._replace(tool=OURS), []).seconds == pytest.approx(360 / num_cores)


def test_rows_that_are_there_are_not_done_again(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.csv"
    of_rehearsal = [row(tool, 0, 50) | {"weights": "none"} for tool in ("fastai", OURS)]
    write_csv(path, COLUMNS, [of_rehearsal[0], of_rehearsal[1] | {"status": "failed: no"}])
    monkeypatch.setattr(command, "result_path", lambda name, suffix: path)
    done = []
    monkeypatch.setattr(command, "run_case", lambda case, *_: done.append(case) or row(OURS, 0, 50) | case._asdict())
    monkeypatch.setattr(command, "write_result", lambda *_: None)
    given = ["--minutes", "30", "--data", "sketchy", "--weights", "none", "--repetitions", "1"]
    command.main([*given, "--tools", "fastai", OURS])
    assert [case.tool for case in done] == [OURS]
    assert {(r["tool"], r["status"]) for r in read_csv(path)} == {("fastai", "ok"), (OURS, "ok")}
    command.main([*given, "--tools", "fastai", OURS])
    assert len(done) == 1


@pytest.mark.parametrize(
    "given", [[], ["--minutes", "0"], ["--minutes", "1", "--repetitions", "0"], ["--minutes", "1", "--tools", "x"]]
)
def test_flags_that_say_nothing_are_refused(given, capsys):
    with pytest.raises(SystemExit) as ended:
        read_arguments(given)
    assert ended.value.code == 2


def test_our_command_line_keeps_its_promises(folder, tmp_path):
    """Flags and values that the program takes, and a total time that is what is left."""
    from tune_sketch.config.flags import build_parser, given_choices, make_settings

    sys.path.insert(0, str(TOOLS_FOLDER))
    try:
        import job
        import ours
    finally:
        sys.path.remove(str(TOOLS_FOLDER))
    content = {"folder": str(folder), "out": "o", "work": str(tmp_path), "weights": None, "image_px": 32, "seed": 3}
    content |= {"num_cores": 2, "kind": "wall", "seconds": 600.0, "wall_seconds": 600.0, "started": time.time() - 60}
    (tmp_path / "job.json").write_text(json.dumps(content | {"options": {}}))
    line = ours.command(job.Job(str(tmp_path / "job.json")))
    arguments = build_parser().parse_args(line[3:])
    settings = make_settings("baseline", given_choices(arguments))
    assert 538 <= settings.total_time_seconds <= 540
    assert (settings.split_by, settings.image_px, settings.seed, settings.weights) == ("own", 32, 3, "none")
    assert set(DATA) == {"sketchy", "quickdraw", "doodles"}
