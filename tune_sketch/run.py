"""Carries out a search: from a run directory that holds its settings to one that holds its results."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tune_sketch.backend.allocation import describe_workers
from tune_sketch.backend.base import Backend, BackendLostError, Workers
from tune_sketch.backend.gpu_sharing import describe_sharing
from tune_sketch.backend.jobs import job_of
from tune_sketch.callbacks.base import Callback
from tune_sketch.callbacks.budget import Budget, wall_seconds
from tune_sketch.callbacks.cleanup import Cleanup
from tune_sketch.callbacks.live_report import LiveReport
from tune_sketch.callbacks.progress import Progress
from tune_sketch.callbacks.trackers import make_trackers
from tune_sketch.commands import command_text, tensorboard_text
from tune_sketch.config.plan import expected_epochs_of_search, most_epochs
from tune_sketch.config.seeds import derive_seed
from tune_sketch.config.settings import Settings
from tune_sketch.events import Proposal, Trial
from tune_sketch.formatting import name_of
from tune_sketch.retraining.finalists import choose_finalists
from tune_sketch.retraining.last_step import LastStep
from tune_sketch.retraining.racing import Race
from tune_sketch.retraining.results import results_lines
from tune_sketch.retraining.timetable import SearchEnd, Timetable
from tune_sketch.retraining.within_time import TimedRace
from tune_sketch.samplers.of_search import make_rule, make_strategy
from tune_sketch.schedulers.asha import NEVER_STOP, Rule
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.stop_signal import StopSignal
from tune_sketch.storage.facts import Facts, GpuSharing, read_facts, write_facts
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.kept_checkpoints import sweep_checkpoints
from tune_sketch.storage.lock import lock
from tune_sketch.storage.provenance import describe_session
from tune_sketch.storage.reading import open_storage
from tune_sketch.storage.recorded_choices import note_choices
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.tables import write_tables


@dataclass
class OpenRun:
    """A run directory that this process owns, with all that works on it."""

    directory: RunDirectory
    facts: Facts
    journal: Journal
    backend: Backend
    stop: StopSignal
    screen: Progress
    live_report: LiveReport
    timetable: Timetable | None = None  # of --total-time, once the search has its workers

    @property
    def settings(self) -> Settings:
        return self.facts.settings

    @property
    def sharing(self) -> GpuSharing:
        return self.facts.sessions[-1].gpu_sharing or GpuSharing(1, "not measured")

    def allocate(self, num_trainings: int) -> Workers:
        return self.backend.allocate(self.settings, num_trainings, self.sharing)


def run_search(run: RunDirectory, backend: Backend, storage: str | None = None, begun_at: float | None = None) -> bool:
    """Search, retrain the best, read the test split, report. False: interrupted, to be resumed.

    begun_at: of time.monotonic, from which --total-time counts, as it is for the caller: before decoding.
    """
    with lock(run), open_run(run, backend, storage, begun_at) as work:
        search_trials(work)
        return retrain_and_report(work, storage)


def confirm_run(run: RunDirectory, backend: Backend, storage: str | None = None) -> bool:
    """Retrain the best of a search again, with more finalists or seeds, and report. False: interrupted."""
    with lock(run), open_run(run, backend, storage) as work:
        if not any(trial.epochs for trial in work.journal.trials):
            raise ValueError(
                f"{run.path} has no trained trial to confirm; go on with {command_text('search', '--resume', run.path)}"
            )
        return retrain_and_report(work, storage)


@contextlib.contextmanager
def open_run(
    run: RunDirectory, backend: Backend, storage: str | None, begun_at: float | None = None
) -> Iterator[OpenRun]:
    """Begin a session: open the record, listen for signals, start the backend. When it is lost, all is paused."""
    facts = read_facts(run)
    latest = max((session.ended_at or session.started_at for session in facts.sessions), default=0.0)
    journal = Journal(open_storage(run, facts, storage), facts.study_name, not_before=latest)
    session = describe_session(getattr(backend, "address", None), begun_at, journal.clock())
    facts = facts.with_session(session).divided()
    write_facts(run, facts)
    note_choices(journal, facts)
    settings = facts.settings
    num_retraining_epochs = facts.num_retrainings * most_epochs(facts)
    screen = Progress(settings.num_samples, expected_epochs_of_search(facts), num_retraining_epochs)
    trainings = [*journal.trials, *journal.later_trainings.values()]
    screen.watch(trainings, wall_seconds(facts.sessions, trainings))
    screen.print_line(f"run directory  {run.path}\nTensorBoard    {tensorboard_text(run.tensorboard)}")
    stop = StopSignal(run, screen.print_line)
    live_report = LiveReport(run.path, storage, screen.print_line)
    try:
        backend.start()
        if reach := backend.describe_reach():
            screen.print_line(f"reachable      {reach}")
        session = replace(session, gpu_sharing=backend.share_gpus(run, facts))
        facts = replace(facts, sessions=(*facts.sessions[:-1], session))
        write_facts(run, facts)
        yield OpenRun(run, facts, journal, backend, stop, screen, live_report)
    except BackendLostError as lost:
        journal.pause_all()
        lost.num_epochs, lost.was_stopping = screen.num_epochs_here, stop.by_signal
        raise
    finally:
        session = replace(session, ended_at=journal.clock())
        write_facts(run, replace(facts, sessions=(*facts.sessions[:-1], session)))
        live_report.close()
        screen.show_live("")
        stop.close()
        journal.close()


def search_trials(work: OpenRun) -> None:
    """Run the search's trials to their end, or until it is time to stop."""
    from tune_sketch.callbacks.tensorboard import TensorBoardLog  # was imported while Ray started, see start_ray

    settings, journal, stop = work.settings, work.journal, work.stop
    workers = work.allocate(settings.num_samples)
    work.screen.print_line(f"workers        {describe_workers(workers)}{describe_sharing(work.sharing, workers)}")
    if settings.time_budget_seconds is not None:
        spent = wall_seconds(work.facts.sessions, journal.trials)
        stop.deadline = time.monotonic() + settings.time_budget_seconds - spent
    strategy = make_strategy(work.facts)
    budget = Budget(
        journal.trials,
        {model: own.settings.rungs for model, own in work.facts.of_each().items()},
        gpus=workers.gpus,
        gpu_hours=settings.gpu_hours,
        min_gain=settings.min_gain,
        can_forecast=strategy.stops_trials,  # else trials are not alike
        end_search=lambda reason: stop.request(f"{reason}; each training finishes its epoch"),
        say=work.screen.print_line,
    )

    callbacks: list[Callback] = [work.screen, TensorBoardLog(work.directory.tensorboard, journal.trials), budget]
    callbacks += make_trackers(settings.track, work.directory.path, journal.trials)
    if settings.total_time_seconds is not None:
        work.timetable = Timetable(work.facts, journal, workers.num_workers)
        work.screen.ends_at = work.timetable.end
        callbacks.append(SearchEnd(work.timetable, stop, journal.trials))
    work.screen.search_seconds_left = lambda: min(
        stop.seconds_left(), budget.worker_seconds_left() / workers.num_workers
    )

    def propose() -> Trial | None:
        proposed = strategy.next(journal)
        seed = derive_seed(settings.seed, "trial", len(journal.trials))
        return journal.add_trial(proposed, seed) if isinstance(proposed, Proposal) else proposed

    run_trainings(
        work,
        strategy.begin(journal),
        propose,
        make_rule(work.facts),
        callbacks,
        workers,
        set_aside=lambda trial: strategy.set_aside(trial, journal),
    )
    if not any(trial.epochs for trial in journal.trials) and not stop.by_signal:
        reasons = sorted({trial.error for trial in journal.trials if trial.error}) or [stop.reason]
        raise ValueError(
            f"no trial trained a single epoch: {'; '.join(reasons)} (tracebacks in {work.directory.errors})"
        )


def run_trainings(
    work: OpenRun,
    unfinished: Sequence[Trial],
    propose: Callable[[], Trial | None],
    rule: Rule,
    callbacks: Sequence[Callback],
    workers: Workers,
    set_aside: Callable[[Trial], bool] = lambda trial: False,
) -> None:
    """Run unfinished trainings and proposed ones until there are no more, or a stop is requested."""
    journal, run, stop = work.journal, work.directory, work.stop
    queue = TrialQueue(
        journal, unfinished, propose, lambda trial: job_of(trial, run, work.facts, workers), stop.may_start
    )
    cleanup = Cleanup(run, journal, stop, keeps_best=work.timetable is not None)
    cleanup.sweep()
    recorder = Recorder(
        journal,
        queue,
        rule,
        callbacks=[*callbacks, work.live_report, cleanup],
        max_failures=work.settings.max_failures,
        set_aside=set_aside,
        stop_requested=stop.requested,
        interrupt=stop.interrupt,
        save_error=run.save_error,
        say=work.screen.print_line,
    )
    if queue.has_next():
        work.backend.run(queue, recorder, workers, run)
    journal.pause_all()
    write_tables(run, journal)


def retrain_and_report(work: OpenRun, storage: str | None) -> bool:
    """Retrain the finalists, read the test split, write tables and report. False: interrupted."""
    # Here, because the report's plotting takes a second to import, for which no trial need wait.
    from tune_sketch.analysis.report import write_report

    run, stop = work.directory, work.stop
    work.screen.is_search_over = True
    if not stop.by_signal:
        stop.clear()
        retrain_within_time(work, work.timetable) if work.timetable is not None else retrain_finalists(work)
    if work.settings.last_step and not stop.by_signal:
        take_last_step(work)
    if not stop.by_signal:
        finish(work)
    work.screen.print_line("writing the report")  # takes a minute or two after a long search
    work.live_report.close()
    write_report([run.path], run.report_html, storage)
    if stop.by_signal:
        work.screen.print_line(f"stopped. Resume with:  {command_text('search', '--resume', run.path)}")
        return False
    print("\n".join(results_lines(run, work.journal)))
    return True


def retrain_finalists(work: OpenRun) -> None:
    """Retrain the finalists on fresh seeds: a race, which ends early where it is decided."""
    settings, journal, screen = work.settings, work.journal, work.screen
    finalists = choose_finalists(journal.trials, settings.finalists)
    screen.print_line(
        f"retraining {len(finalists)} finalists on fresh seeds, {settings.retraining_seeds} each on average: "
        + ", ".join(map(name_of, finalists))
    )
    screen.num_retraining_epochs = settings.retraining_seeds * sum(int(t.config["epochs"]) for t in finalists)
    race = Race(journal, finalists, mean_seeds=settings.retraining_seeds, seed=settings.seed)
    workers = work.allocate(work.facts.num_retrainings)
    run_trainings(work, race.unfinished(), race.propose, NEVER_STOP, [screen], workers)


def take_last_step(work: OpenRun) -> None:
    """Let the winner's network go on with the validation drawings too: it becomes the network of best/."""
    last, stop, timetable = LastStep(work.journal, seed=work.settings.seed), work.stop, work.timetable
    trained = [trial for trial in work.journal.later_trainings.values() if trial not in last.unfinished()]
    # Not what the race might have trained: where it is decided early it ends early.
    if timetable is not None and last.num_epochs():
        last.most_epochs = timetable.last_step_epochs(last.retraining())
        if not last.num_epochs():
            work.screen.print_line("no time is left for the winner to go on with the validation drawings")
            return
        stop.deadline = timetable.retraining_end(len(work.journal.retrainings))
        stop.deadline_reason = "the time for the last step is over: the winner as it was validated is in best/"
    work.screen.num_retraining_epochs = sum(len(trial.epochs) for trial in trained) + last.num_epochs()
    if last.num_epochs() and last.begun() is None:
        from tune_sketch.retraining.testing import keep_network  # imports torch, as no driver does before

        keep_network(work.directory, work.journal, last.retraining())
    run_trainings(work, last.unfinished(), last.propose, NEVER_STOP, [work.screen], work.allocate(1))
    if timetable is not None and not stop.by_signal:
        stop.clear()


def retrain_within_time(work: OpenRun, timetable: Timetable) -> None:
    """Retrain what time allows; where that is nothing, take the search's own network."""
    journal, stop, say = work.journal, work.stop, work.screen.print_line
    race = TimedRace(journal, timetable, seed=work.settings.seed)
    workers = work.allocate(max(1, len(race.plan()) + len(race.unfinished())))
    timetable.num_workers = workers.num_workers
    say(race.begin())
    if race.plan() or race.unfinished():
        stop.deadline = race.end - timetable.last_step_seconds()
        stop.deadline_reason = "the time for retraining is over: each training finishes its epoch"
        work.screen.num_retraining_epochs = sum(planned.num_epochs for planned in race.plan())
        run_trainings(work, race.unfinished(), race.propose, NEVER_STOP, [work.screen], workers)
    if stop.by_signal:
        return
    stop.clear()
    say(race.settle(work.directory))
    if not race.has_network():  # as where no network of the search was kept, since it began without --total-time
        say("no network is there yet: the best is retrained as briefly as can be, though time is over")
        run_trainings(work, [race.insist()], lambda: None, NEVER_STOP, [work.screen], workers)


def finish(work: OpenRun) -> None:
    """Choose on validation, then score every retrained network on the test split that has not been, and write it."""
    from tune_sketch.retraining.testing import read_test_split  # imports torch, as no driver does before

    workers = work.allocate(work.facts.num_retrainings)
    read_test_split(work.directory, work.facts, work.journal, work.backend, workers, work.screen.print_line)
    sweep_checkpoints(work.directory, work.journal.trials)  # also of what was kept for want of another network
