"""A real search within --total-time, killed and resumed in between: over in time, with a network and a report."""

import json
import time

import pytest

from tests.support.processes import end_family
from tests.support.real_search import Search
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.reading import read_history

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
TOTAL_SECONDS = 60.0


@pytest.fixture
def search(tmp_path):
    search = Search(tmp_path, {})
    yield search
    search.close()


def test_killed_and_resumed_it_is_over_in_time_with_a_network(search):
    began = time.monotonic()
    process = search.start("--total-time", f"{TOTAL_SECONDS:.0f}s", "--num-samples", 500)
    search.wait_for_epochs(process, 1)
    end_family(process)
    process.wait()
    search.finish(search.start())
    took = time.monotonic() - began

    facts, history = read_facts(search.run), read_history(search.run)
    trainings = [*history.trials, *history.retrainings.values()]
    epoch_seconds = max(epoch.seconds for trial in trainings for epoch in trial.epochs)
    assert len(history.trials) < 500
    assert len(facts.sessions) == 2
    assert facts.division.total_seconds == TOTAL_SECONDS
    model = json.loads((search.run.best / "model.json").read_text())
    assert (search.run.best / "weights.safetensors").stat().st_size > 1000
    assert any(trial.key == model["retraining"] and trial.test for trial in history.retrainings.values())
    page = search.run.report_html.read_text()
    assert "The total time and its parts" in page
    assert "of retraining" in search.processes[0].output_path.read_text(), "the plan says how it is divided"
    begins = [epoch.recorded_at - epoch.seconds for trial in history.trials for epoch in trial.epochs[:1]]
    start = min(begins) - facts.sessions[0].started_at
    if start > TOTAL_SECONDS / 3:
        pytest.skip(f"all but the time: this machine is so busy that the first epoch began after {start:.0f} s")
    assert took <= TOTAL_SECONDS + epoch_seconds + 5.0
