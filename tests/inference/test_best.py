"""The content of best/: weights that other programs read, all preprocessing, and a card from the run's facts."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.fake_runs import TEMPERATURE, make_finished_run
from tune_sketch.data import open_data
from tune_sketch.inference.model import load_classifier
from tune_sketch.retraining.model_card import card_text, code, plain
from tune_sketch.retraining.results import write_best
from tune_sketch.statistics import wilson_interval
from tune_sketch.storage.facts import WeightsFacts, read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.reading import read_history


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("best") / "run", num_trials=4, failed=0, model="squeezenet1_1")


def test_an_earlier_versions_weights_are_read(run, tmp_path):
    drawings = open_data(read_facts(run).data.cache).images[:5]
    expected = load_classifier(run.path).compute_probabilities(drawings)
    weights = load_file(run.best / "weights.safetensors")
    mode = (run.best / "weights.safetensors").stat().st_mode
    assert mode == (run.best / "model.json").stat().st_mode, "as readable as the other files"
    (run.best / "weights.safetensors").rename(tmp_path / "kept")
    torch.save(weights, run.best / "weights.pt")
    try:
        assert (load_classifier(run.path).compute_probabilities(drawings) == expected).all()
        history = read_history(run)
        best = max((t for t in history.retrainings.values() if t.number == 1), key=lambda t: t.seed_index)
        write_best(run, read_facts(run), best, {})  # a search that is extended
        assert not (run.best / "weights.pt").exists()
        assert (load_classifier(run.path).compute_probabilities(drawings) == expected).all()
    finally:
        (tmp_path / "kept").rename(run.best / "weights.safetensors")


def test_model_json_holds_all_preprocessing(run):
    """A program that reads model.json alone gives the network what training gave it."""
    classifier, model = load_classifier(run.path), json.loads((run.best / "model.json").read_text())
    how = model["preprocessing"]
    drawings = open_data(read_facts(run).data.cache).images[:5]
    assert how["input"] == ["N", 3, 32, 32]
    scaled = np.repeat(drawings[:, None].astype(np.float32), 3, axis=1) / how["divided_by"]
    mean, deviation = (np.array(how[name], np.float32)[:, None, None] for name in ("mean", "standard_deviation"))
    with torch.inference_mode():
        logits = classifier.network(torch.from_numpy((scaled - mean) / deviation))
    rows = (logits / model["temperature"]).softmax(dim=1).numpy()
    assert np.abs(rows - classifier.compute_probabilities(drawings)).max() < 1e-6


def test_the_card_says_what_the_run_has_recorded(run):
    card = (run.best / "README.md").read_text()
    model, facts = json.loads((run.best / "model.json").read_text()), read_facts(run)
    test = model["test"]
    low, high = wilson_interval(test["top1"], test["num_images"])
    for number in (test["top1"], test["top5"], test["f1"], high, model["val_top1"]):
        assert f"{100 * number:.1f} %" in card
    assert f"95 % interval {100 * low:.1f} to" in card
    (row,) = [row for row in read_csv(run.finalists_csv) if row["is_chosen"] == "True"]
    assert f"{100 * float(row['test_top1_mean']):.1f} %" in card
    assert f"mean over {row['num_seeds']} seeds" in card
    stated = np.mean([float(row["probability_1"]) for row in read_csv(run.predictions_csv)])
    assert f"had a probability of {100 * stated:.1f} % on average" in card
    assert f"temperature of {TEMPERATURE:.3f}" in card
    assert facts.data.fingerprint in card
    assert f"{facts.data.num_train:,} to train on" in card
    assert all(f"\n    {name}\n" in card for name in facts.data.class_names)
    assert "says nothing about people's drawings" in card, "it was drawn by a program"
    assert str(run.path.parent) not in card, "a card that is given away names no place of this machine"


def test_no_name_changes_the_card(run):
    from dataclasses import replace

    hostile = "a_b*c* <img src=x> [x](x) `` ` #"
    facts, history = read_facts(run), read_history(run)
    data = replace(facts.data, class_names=(hostile, *facts.data.class_names[1:]), split_origin=hostile)
    weights = WeightsFacts(
        "/home/someone/my net.pth", "squeezenet: weights of /home/someone/my net.pth (its head)", True
    )
    facts = replace(
        facts, data=data, weights=weights, settings=replace(facts.settings, data=f"/home/someone/{hostile}")
    )
    best = max((t for t in history.retrainings.values() if t.number == 1), key=lambda t: t.seed_index)
    card = card_text(run, facts, history, best)
    (prose,) = [line for line in card.splitlines() if "<img" in line and "\\<img" not in line and line[0] != " "]
    assert prose.startswith(f"- data: ```` {hostile} ````, "), "the data's name is code"
    assert "someone" not in card
    assert "- start: squeezenet: weights of my net.pth (its head)\n" in card
    assert plain("<b>_x_|") == "\\<b\\>\\_x\\_\\|"
    assert code("a`b") == "`` a`b ``"
