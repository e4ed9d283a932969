"""A last step goes on from the state of the training before it, or from its kept weights where that state is gone."""

import pytest
import torch

import tune_sketch.retraining.testing
from tests.support.in_process import InProcessBackend
from tests.support.whole_run import make_run
from tune_sketch.run import run_search
from tune_sketch.storage.reading import read_history
from tune_sketch.trainables import job
from tune_sketch.trainables.checkpoints import read_newest_checkpoint

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture
def begun(monkeypatch):
    """[(weights, state) that a last step began with], as copies, once one has begun."""
    begun, fit = [], job.fit

    def seen(model, splits, config, *, state, **options):
        if not len(splits.validation):
            weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            begun.append((weights, state))
        return fit(model, splits, config, state=state, **options)

    monkeypatch.setattr(job, "fit", seen)
    return begun


def test_the_whole_state_goes_on_the_optimizers_too(tmp_path, begun):
    run, before = make_run(tmp_path / "run"), []

    def note(key, report):
        if key.startswith("last-step") and not before:
            (last,) = read_history(run).last_steps.values()
            before.append(read_newest_checkpoint(run.checkpoints(last.follows)))

    assert run_search(run, InProcessBackend(note))
    ((epoch, payload),) = before
    ((_, state),) = begun
    history = read_history(run)
    (last,) = history.last_steps.values()
    followed = history.retrainings[last.follows]
    assert (payload["key"], epoch) == (followed.key, len(followed.epochs))
    assert state["epoch"] == 0, "its epochs are counted anew"
    assert state["step"] == payload["state"]["step"] > 0, "its steps are not"
    ignored = {"epoch": 0, "frozen": None}
    assert_same(state | ignored, payload["state"] | ignored)
    assert state["optimizer"]["state"], "not empty"
    rates = [epoch.metrics["learning_rate"] for epoch in last.epochs]
    assert rates[0] <= followed.epochs[-1].metrics["learning_rate"], "it does not warm up again"


def test_where_its_checkpoints_are_gone_the_kept_weights_go_on_and_that_is_said(tmp_path, begun, monkeypatch, capsys):
    run, keep = make_run(tmp_path / "run"), tune_sketch.retraining.testing.keep_network

    def keep_and_remove(run, journal, trial):
        keep(run, journal, trial)
        run.remove_checkpoints(trial.key)

    monkeypatch.setattr("tune_sketch.retraining.testing.keep_network", keep_and_remove)
    assert run_search(run, InProcessBackend())
    ((weights, state),) = begun
    (last,) = read_history(run).last_steps.values()
    kept = torch.load(run.kept_weights(last.follows))
    assert state is None
    assert all(torch.equal(weights[name], tensor) for name, tensor in kept.items())
    assert last.status == "completed"
    warning = f"WARNING  {last.key}: no checkpoint is left in {run.checkpoints(last.follows).absolute()}"
    assert warning in capsys.readouterr().err


def assert_same(one, other):
    """Two states of a training, tensor by tensor."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert_same(value, other[name])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other
