"""The export command: what it writes, what integers lose, and what is wrong with its flags or its files."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.fake_runs import make_finished_run
from tune_sketch.data import open_data
from tune_sketch.data.splits import read_splits
from tune_sketch.export import build_parser, main
from tune_sketch.inference import quantise, site, web_runtime
from tune_sketch.inference.model import load_classifier
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv

HOSTILE = ["</script><script>alert(1)</script>", "<!--", "VERSION FILE_NAMES", "{{ about }}"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("export") / "run", num_trials=3, failed=0)


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """Files in place of the runtime's, which are large and not here."""
    folder = tmp_path / "package" / "dist"
    folder.mkdir(parents=True)
    hashes = {}
    for name in (web_runtime.SCRIPT, web_runtime.BINARY):
        (folder / name).write_bytes(name.encode())
        hashes[name] = hashlib.sha256(name.encode()).hexdigest()
    monkeypatch.setattr(web_runtime, "SHA256", hashes)
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))
    return folder


def test_flags_are_few_and_frozen():
    flags = {flag for flag in build_parser()._option_string_actions if flag.startswith("--")}
    assert flags == {"--help", "--to", "--quantise", "--runtime", "--data"}


def test_integers_are_measured_on_the_runs_test_drawings(run, capsys):
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    onnxruntime = pytest.importorskip("onnxruntime")
    assert main([str(run.path), "--to", "onnx", "--quantise"]) == 0
    printed = capsys.readouterr().out
    data = open_data(read_facts(run).data.cache)
    test = read_splits(run.splits_csv, data).test
    (row,) = read_csv(run.best / "quantised.csv")
    right = {}
    for name, file in (("float", "model.onnx"), ("int8", "model-int8.onnx")):
        session = onnxruntime.InferenceSession(run.best / file, providers=["CPUExecutionProvider"])
        (rows,) = session.run(None, {"images": np.asarray(data.images[test])})
        right[name] = rows.argmax(axis=1) == data.labels[test]
        assert float(row[f"top1_{name}"]) == pytest.approx(right[name].mean())
        assert int(row[f"bytes_{name}"]) == (run.best / file).stat().st_size
    assert int(row["num_drawings"]) == len(test)
    assert int(row["num_gained"]) == (right["int8"] & ~right["float"]).sum()
    assert float(row["low"]) < float(row["difference"]) < float(row["high"])
    assert 0 < float(row["largest_probability_difference"]) < 0.2
    assert int(row["bytes_int8"]) < 0.5 * int(row["bytes_float"])
    assert f"of the {len(test)} test drawings" in printed


def test_a_difference_counts_what_is_gained_and_lost(tmp_path, monkeypatch):
    answers = {"float": np.eye(4)[[0, 1, 2, 0]], "int8": np.eye(4)[[0, 2, 2, 3]]}
    for name in answers:
        (tmp_path / name).write_bytes(b"x" * len(name))
    monkeypatch.setattr(quantise, "run_file", lambda file, drawings: answers[file.name])
    loss = quantise.measure(tmp_path / "float", tmp_path / "int8", np.zeros((4, 8, 8), np.uint8), np.arange(4))
    assert (loss.row["num_gained"], loss.row["num_lost"], loss.row["difference"]) == (1, 1, 0)
    assert (loss.row["top1_float"], loss.top1, loss.num_drawings) == (0.75, 0.75, 4)


def test_a_site_is_whole_and_nothing_in_it_is_foreign(run, runtime, tmp_path):
    from dataclasses import replace

    model = load_classifier(run.path)
    data = open_data(read_facts(run).data.cache)
    splits = read_splits(run.splits_csv, data)
    hostile = replace(model, class_names=[*HOSTILE, *model.class_names[len(HOSTILE) :]])
    (tmp_path / "net.onnx").write_bytes(b"network")
    folder = tmp_path / "there"
    for _ in range(2):  # a second time replaces the first
        site.write_site(hostile, tmp_path / "net.onnx", runtime, folder, result=HOSTILE, data=data, splits=splits)
    page = (folder / "index.html").read_text()
    assert page.count("<script") == page.count("</script>") == 3
    assert "alert(1)</script>" not in page
    about = json.loads(re.search(r'id="about">(.*?)</script>', page, re.DOTALL)[1])
    assert about["shown_names"][:2] == ["</script><script>alert(1)</script>", "<!--"]
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', page)[1])
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "'wasm-unsafe-eval'" in policy
    assert "'unsafe-eval'" not in policy
    assert "unsafe-inline" not in policy
    assert not re.search(r"https?://(?!127\.0\.0\.1)", page), "it asks nobody else"
    names = {path.name for path in folder.iterdir()}
    worker = (folder / "service-worker.js").read_text()
    kept = json.loads(re.search(r"\.\.\.(\[.*?\])", worker)[1])
    assert set(kept) == names - {"service-worker.js"}, "all of it is kept for offline use"
    assert "VERSION" not in worker
    assert "MIT License" in (folder / "licences.txt").read_text()
    with Image.open(folder / "classes.png") as picture:
        cell = (site.NUM_PICTURES * site.PICTURE_PX, site.PICTURE_PX)
        assert picture.size == (about["pictures"]["columns"] * cell[0], about["pictures"]["rows"] * cell[1])
        grey = np.asarray(picture.convert("L"))
        assert np.median(grey) > 240
        assert grey.min() < 100, "dark on light"


def test_a_runtime_of_another_version_is_refused(runtime):
    assert web_runtime.find_runtime(runtime) == web_runtime.find_runtime(runtime.parent.parent) == runtime
    (runtime / web_runtime.BINARY).write_bytes(b"other")
    with pytest.raises(ValueError, match=r"SHA-256 must be [0-9a-f]{64}, got [0-9a-f]{64}"):
        web_runtime.find_runtime(runtime)
    with pytest.raises(ValueError, match="must be the npm package"):
        web_runtime.find_runtime(runtime.parent.parent.parent / "nowhere")


def test_npm_fetches_the_runtime_once(runtime, tmp_path, monkeypatch):
    calls = []

    def pack(command, cwd, **options):
        calls.append(command)
        shutil.make_archive(str(Path(cwd) / "packed"), "gztar", tmp_path, "package")
        (Path(cwd) / "packed.tar.gz").rename(Path(cwd) / "packed.tgz")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pack)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    folder = web_runtime.find_runtime()
    assert folder.parent == tmp_path / "cache"
    assert web_runtime.find_runtime() == folder
    assert len(calls) == 1
    assert f"onnxruntime-web@{web_runtime.VERSION}" in calls[0]


def test_where_the_runtime_cannot_be_had_is_one_clear_line(runtime, run, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main([str(run.path), "--to", "site"]) == 2
    assert "needs the program npm" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    failed = subprocess.CompletedProcess([], 1, "", "npm error network\nnpm error no such host\n")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: failed)
    assert main([str(run.path), "--to", "site"]) == 2
    error = capsys.readouterr().err
    assert "no such host" in error
    assert "--runtime FOLDER" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--to timm --quantise", "--quantise is only for --to onnx and --to site, got --to timm"),
        ("--to onnx --runtime here", "--runtime is only for --to site, got --to onnx"),
        ("--to coreml", "invalid choice"),
    ],
)
def test_wrong_flags_are_one_clear_line(run, flags, words, capsys):
    try:
        code = main([str(run.path), *flags.split()])
    except SystemExit as ending:
        code = ending.code
    assert code == 2
    assert words in capsys.readouterr().err


def test_lost_drawings_are_told_before_the_work(tmp_path, capsys, monkeypatch):
    lost = make_finished_run(tmp_path / "run", num_trials=3, failed=0)
    shutil.rmtree(read_facts(lost).data.cache)
    assert main([str(lost.path), "--to", "onnx", "--quantise"]) == 2
    assert "--data PLACE" in capsys.readouterr().err
    assert not (lost.best / "model.onnx").exists()
