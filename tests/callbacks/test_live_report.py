"""The report during a search: in a process of its own, seldom, not final, and gone when the search ends."""

import time

import pytest

from tests.support.fake_runs import add_trials, begin_run, make_finished_run
from tests.support.in_process import InProcessBackend
from tests.support.whole_run import make_run
from tune_sketch.analysis.report import write_report
from tune_sketch.callbacks import live_report
from tune_sketch.callbacks.live_report import MOST_SHARE, PAUSE_SECONDS, LiveReport
from tune_sketch.run import run_search
from tune_sketch.storage.lock import lock


class Clock:
    """A clock in the place of time.monotonic."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(live_report.time, "monotonic", lambda: self.now)


class FakeProcess:
    """A report that is being written until it is told to end."""

    returncode = None
    killed = False

    def poll(self):
        return self.returncode

    def kill(self):
        self.killed = True

    def wait(self):
        pass


@pytest.fixture
def live(tmp_path, monkeypatch):
    """(the callback, its clock, the processes that it started, what it said), no process being a real one."""
    clock, started, said = Clock(monkeypatch), [], []
    live = LiveReport(tmp_path, None, said.append)
    monkeypatch.setattr(live, "start", lambda: started.append(FakeProcess()) or started[-1])
    yield live, clock, started, said
    live.close()


def test_one_at_a_time_and_seldom(live):
    live, clock, started, _ = live
    clock.now += PAUSE_SECONDS - 1
    live.on_epoch(None)
    assert started == [], "a short search has none"
    clock.now += 1
    live.on_epoch(None)
    live.on_epoch(None)
    assert len(started) == 1, "the first one is at work"
    clock.now += 30
    started[0].returncode = 0
    live.on_epoch(None)
    clock.now += 30 / MOST_SHARE - 1
    live.on_epoch(None)
    assert len(started) == 1, "one that takes long comes seldom"
    clock.now += 1
    live.on_end(None)
    assert len(started) == 2
    live.close()
    assert started[1].killed
    clock.now += 10_000
    live.on_epoch(None)
    assert len(started) == 2, "the search itself writes the last one"


def test_a_failure_is_said_once_and_harms_nothing(live):
    live, clock, started, said = live
    clock.now += PAUSE_SECONDS
    live.on_epoch(None)
    live.errors.write("Traceback\nOSError: no space\n")
    started[0].returncode = 1
    for _ in range(3):
        clock.now += 10_000
        live.on_epoch(None)
    assert said == ["the report cannot be written during the search: OSError: no space"]
    assert len(started) == 1


def test_a_page_is_not_final_while_a_search_is_at_work(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=6)
    add_trials(run, journal, 4, running=1)
    with lock(run):
        live = LiveReport(run.path, None, print)
        process = live.start()
        assert process.wait(240) == 0
        live.close()
    page = run.report_html.read_text()
    assert "Not final: the search is still at work (run)" in page
    assert page.index("Not final") < page.index("Verdict"), "at its top"
    write_report([run.path], run.report_html)
    assert "Not final: without a test result yet" in run.report_html.read_text()


def test_a_finished_page_is_final(tmp_path):
    run = make_finished_run(tmp_path / "run", num_trials=4)
    write_report([run.path], run.report_html)
    assert "Not final" not in run.report_html.read_text()


def test_a_search_shows_its_report_while_it_is_at_work(tmp_path, monkeypatch):
    """A whole search in this process, whose second epoch waits until the first one's report is there."""
    monkeypatch.setattr(live_report, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("tune_sketch.analysis.report.write_report", lambda runs, path, *more: path.touch())
    run = make_run(tmp_path / "run", num_samples=2, last_step=False)
    backend, pages = InProcessBackend(), []

    def look(key, report):
        if backend.num_reports == 2:
            end = time.monotonic() + 120
            while not run.report_html.exists() and time.monotonic() < end:
                time.sleep(0.1)
            pages.append(run.report_html.read_text() if run.report_html.exists() else "no page")

    backend.before_report = look
    assert run_search(run, backend)
    (page,) = pages
    assert "Not final: the search is still at work" in page
    assert "0 of 2 trials have ended" in page
