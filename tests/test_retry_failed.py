"""A trial that was failed wrongly goes on where it was: `--resume RUN --retry-failed`, the whole way."""

import pytest

from tests.support.in_process import InProcessBackend
from tests.support.recorded import check_complete
from tests.support.whole_run import make_run
from tune_sketch.events import DeathReport, EpochReport
from tune_sketch.run import run_search
from tune_sketch.search import main
from tune_sketch.storage.reading import read_history

pytestmark = pytest.mark.usefixtures("no_report")
VICTIM = "trial-0001"


class Backend(InProcessBackend):
    """The backend of the command. The victim's process dies at every step after its second epoch."""

    def __init__(self, address=None, *, is_deadly=False):
        super().__init__()
        self.is_deadly, self.seen = is_deadly, []

    def check(self):
        pass

    def pass_on(self, key, report):
        if key == VICTIM and isinstance(report, EpochReport):
            self.seen.append(report.number)
            if self.is_deadly and report.number > 2:
                return DeathReport("its process died")
        return report


def test_a_trial_that_failed_wrongly_goes_on_from_its_checkpoint(finished, tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run", grace_epochs=3, max_failures=1)
    assert run_search(run, Backend(is_deadly=True)), "a search ends without it"
    failed = read_history(run).trials[1]
    assert (failed.status, failed.error, len(failed.epochs)) == ("failed", "its process died (2 times)", 2)
    assert [path.parent.name for path in run.all_checkpoints.rglob("*.pt")] == [VICTIM, VICTIM]

    backend = Backend()
    monkeypatch.setattr("tune_sketch.backend.ray_backend.RayBackend", lambda address: backend)
    assert main(["--resume", str(run.path), "--retry-failed"]) == 0
    assert f"tried again    {VICTIM}" in capsys.readouterr().err
    again = read_history(run).trials[1]
    assert (again.status, again.error, len(again.epochs)) == ("completed", "", 3)
    assert again.epochs[:2] == failed.epochs
    # The epoch of its checkpoint is told once more: the third, which it had written before its process died.
    assert backend.seen == [3]
    check_complete(run)
    assert main(["--resume", str(run.path), "--retry-failed"]) == 0
    assert "nothing: no trial has failed" in capsys.readouterr().err
