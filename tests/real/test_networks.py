"""A real search over two networks: one run directory, one report, and a network that recognises drawings."""

import json

import pytest

from tests.support.real_search import Search
from tune_sketch.explain import explain_lines
from tune_sketch.inference.model import load_classifier
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.reading import read_history

FLAGS = "--model baseline squeezenet1_1 --weights none --max-epochs 2 --finalists 1 --num-samples 6 --no-last-step"


@pytest.mark.real
@pytest.mark.parallel
@pytest.mark.timeout(600)
def test_two_networks_share_a_budget(tmp_path):
    search = Search(tmp_path, {})
    try:
        text = search.finish(search.start(*FLAGS.split()))
    finally:
        search.close()
    history, facts = read_history(search.run), read_facts(search.run)
    assert facts.models == ("baseline", "squeezenet1_1")
    assert "the 2 networks are compared by the best validation top-1 within equal seconds of training" in text
    assert len(history.trials) == 6
    assert {trial.network for trial in history.trials} == set(facts.models)
    assert {history.trials[t.number].network for t in history.retrainings.values()} == set(facts.models)
    for trial in history.trials:
        assert any(line.startswith(f"network   {trial.network}") for line in explain_lines(search.run, trial.number))
    rows = read_csv(search.run.path / "figures" / "networks.csv")
    (chosen,) = [row["network"] for row in rows if row["is_chosen"] == "True"]
    assert json.loads((search.run.best / "model.json").read_text())["architecture"] == chosen
    assert tuple(load_classifier(search.run.path).class_names) == facts.data.class_names
