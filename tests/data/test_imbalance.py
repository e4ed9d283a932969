"""Classes of unlike sizes: said in the plan, sampled evenly by choice, measured so that each class counts alike."""

import json
from dataclasses import asdict

import pytest

from tests.support.drawings import draw
from tests.support.facts import make_facts
from tests.support.fake_runs import make_finished_run
from tests.support.in_process import InProcessBackend
from tune_sketch.analysis.report import write_report
from tune_sketch.config.plan import describe_data, plan_lines, prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.data import DataError, DataRequest, open_data, prepare_data
from tune_sketch.data.__main__ import main
from tune_sketch.data.splits import split_data
from tune_sketch.new_run import create_run
from tune_sketch.run import run_search
from tune_sketch.storage.facts import ClassSize, read_facts, write_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.reading import read_history


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def make_uneven(root, **sizes):
    """A folder per class with that many different drawings."""
    number = 0
    for name, size in sizes.items():
        (root / name).mkdir(parents=True)
        for _ in range(size):
            number += 1
            draw(number).save(root / name / f"{number}.png")
    return root


def plan_of(root, **choices):
    settings = Settings("baseline", data=str(root), **({"image_px": 16, "protocol": "small"} | choices))
    inputs = prepare_inputs(settings)
    return settings, inputs, plan_lines(settings, inputs)


def test_the_plan_and_the_data_command_name_the_largest_and_the_smallest_class(tmp_path, capsys):
    root = make_uneven(tmp_path / "set", cat=40, dog=5, emu=12)
    _, _, lines = plan_of(root)
    sizes = "largest cat (40 drawings), smallest dog (5), a ratio of 8"
    assert f"classes   {sizes}; sampling them evenly is searched" in lines
    assert main([str(root), "--image-px", "16", "--protocol", "small"]) == 0
    assert f"classes: {sizes}\n" in capsys.readouterr().out


@pytest.mark.parametrize(("large", "searched"), [(12, False), (13, True)])
def test_balanced_sampling_is_searched_above_a_ratio_of_three(tmp_path, large, searched):
    settings, inputs, lines = plan_of(make_uneven(tmp_path / "set", cat=large, dog=4))
    assert any("sampling them evenly" in line for line in lines) == searched
    facts = make_facts(settings, data=describe_data(settings, inputs))
    assert (facts.limits.class_ratio > 3) == searched


def test_classes_of_one_size_are_said_to_be(tmp_path):
    _, _, lines = plan_of(make_uneven(tmp_path / "set", cat=6, dog=6))
    assert not any(line.startswith("classes ") for line in lines)
    assert any("12 drawings, 2 classes of 6 each, at 16 px" in line for line in lines)


def test_a_search_over_uneven_classes_tries_both_and_measures_each_class_alike(tmp_path, capsys):
    root = make_uneven(tmp_path / "set", cat=40, dog=5, emu=12)
    choices = {"strategy": "random", "num_samples": 6, "max_epochs": 2, "finalists": 1, "retraining_seeds": 1}
    choices["experience"] = False  # of drawings with even classes; here it would leave two draws of six
    settings, inputs, _ = plan_of(root, weights="none", **choices)
    run = create_run(tmp_path / "run", settings, inputs, None)
    assert run_search(run, InProcessBackend())
    trials = read_history(run).trials
    assert trials[0].config["balanced_sampling"] is False, "the paper's"
    assert {trial.config["balanced_sampling"] for trial in trials} == {False, True}
    for row in read_csv(run.epochs_csv):
        assert 0 <= float(row["val_balanced_accuracy"]) <= 1
        assert 0 <= float(row["val_f1"]) <= 1
    (chosen,) = [row for row in read_csv(run.finalists_csv) if row["is_chosen"] == "True"]
    rows = read_csv(run.predictions_csv)
    recalls = []
    for name in ("cat", "dog", "emu"):
        of_class = [row for row in rows if row["true_class"] == name]
        recalls.append(sum(row["class_1"] == name for row in of_class) / len(of_class))
    assert float(chosen["test_balanced_accuracy_mean"]) == pytest.approx(sum(recalls) / 3)
    assert "balanced  macro F1" in capsys.readouterr().out
    page = run.report_html.read_text()
    assert f"Balanced accuracy, to which every class counts alike, is {100 * sum(recalls) / 3:.1f} %" in page
    assert "cat has 40 drawings, dog 5" in page
    again = read_facts(run)
    assert again.data.largest_class == ClassSize("cat", 40)
    assert again.limits.class_ratio == 8


def test_a_search_of_an_earlier_version_keeps_its_space_and_its_report(tmp_path):
    run = make_finished_run(tmp_path / "run", num_trials=4)
    facts = asdict(read_facts(run))
    for name in ("largest_class", "smallest_class"):
        del facts["data"][name]
    run.search_json.write_text(json.dumps(facts))
    assert read_facts(run).limits.class_ratio == 1.0
    write_facts(run, read_facts(run))
    log = run.journal_log.read_text()
    run.journal_log.write_text(log.replace("balanced_accuracy", "of_another_name"))
    page = write_report([run.path], run.report_html).read_text()
    assert "Balanced accuracy, to which" not in page
    assert "Finalists on fresh seeds" in page


def test_a_class_of_fewer_drawings_than_splits_is_named_or_left_out(tmp_path):
    root = make_uneven(tmp_path / "set", cat=6, dog=6, one=1, two=2)
    with pytest.raises(DataError) as caught:
        prepare_data(DataRequest(str(root), 16), progress=False)
    reason = "usable drawings, but train, validation and test need one each"
    assert {problem.name: problem.reason for problem in caught.value.problems} == {
        "one": f"1 {reason}",
        "two": f"2 {reason}",
    }
    assert "go on without them by --skip-bad-images" in str(caught.value)
    data = open_data(prepare_data(DataRequest(str(root), 16, skip_bad_images=True), progress=False))
    assert data.class_names == ["cat", "dog"]
    assert [entry["name"] for entry in data.skipped] == ["one", "two"]


def test_a_class_of_copies_only_is_named_with_the_way_on(tmp_path):
    root = make_uneven(tmp_path / "set", cat=6, dog=6)
    (root / "same").mkdir()
    for number in range(5):
        draw(900).save(root / "same" / f"{number}.png")
    data = open_data(prepare_data(DataRequest(str(root), 16), progress=False))
    with pytest.raises(ValueError, match=r"too few in: same \(1\); exact copies count as one; .*--classes"):
        split_data(data, protocol="small", split_by="file", seed=0)
