"""Earlier searches shape the first suggestions: what is taken, how it is made to fit, and what is recorded."""

import pytest

from tests.support.facts import make_facts
from tests.support.searching import make_journal, make_sampler, suggest
from tests.support.trials import train
from tune_sketch.config.flags import build_parser, given_choices, make_settings
from tune_sketch.config.settings import Settings, change_settings
from tune_sketch.events import Source
from tune_sketch.samplers.warm_start import NUM_TAKEN, adapt, choose_in_turn, read_earlier, source_of
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.search_spaces import SPACES, SpaceLimits, paper_configuration
from tune_sketch.storage.database import open_log
from tune_sketch.storage.facts import EarlierTrial, write_facts
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.run_directory import RunDirectory

LIMITS = SpaceLimits(max_epochs=27, pretrained=False)


def make_run(path, num_trials):
    """A run directory with some trials, the paper's the best of them."""
    run = RunDirectory(path)
    path.mkdir()
    write_facts(run, make_facts(Settings("baseline", weights="none", max_epochs=9)))
    journal, sampler = Journal(open_log(run.journal_log), "s", create=True), make_sampler("random")
    for number in range(num_trials):
        train(journal, suggest(sampler, journal), [0.1 + 0.07 * (7 * number % 10) + (number == 0)], "stopped")
    return run


@pytest.fixture(scope="module")
def earlier_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("earlier") / "sketches", 9)


def earlier(params, max_epochs):
    return EarlierTrial("earlier", 3, params, max_epochs)


def test_the_best_of_each_are_taken_in_turn():
    ranked = [[EarlierTrial(run, number, {}, 9) for number in range(3)] for run in ("a", "b")]
    assert [(e.run, e.trial) for e in choose_in_turn(ranked)] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert [e.trial for e in choose_in_turn(ranked[:1])] == [0, 1, 2]
    assert [(e.run, e.trial) for e in choose_in_turn([ranked[0][:1], ranked[1]])][:3] == [("a", 0), ("b", 0), ("b", 1)]
    assert NUM_TAKEN == 4


def test_an_earlier_run_gives_its_best_but_not_the_papers_configuration(earlier_run):
    trials = read_history(earlier_run).trials
    best = [trial for trial in rank_trials(trials) if trial.source.kind != "paper"]
    assert rank_trials(trials)[0].source.kind == "paper", "the case of a paper's configuration that is best"
    taken = read_earlier([str(earlier_run.path)])
    assert [entry.trial for entry in taken] == [trial.number for trial in best[:NUM_TAKEN]]
    assert taken[0] == EarlierTrial("sketches", best[0].number, best[0].params, 9)


def test_a_run_without_an_epoch_is_named(tmp_path):
    run = make_run(tmp_path / "empty", 0)
    with pytest.raises(ValueError, match=r"--warm-start .*empty: none of its trials trained for an epoch"):
        read_earlier([str(run.path)])
    with pytest.raises(ValueError, match="is not a run directory"):
        read_earlier([str(tmp_path)])


@pytest.mark.parametrize("model", SPACES)
@pytest.mark.parametrize("earlier_model", SPACES)
def test_what_is_taken_fits_every_space(model, earlier_model):
    params = dict(SPACES[earlier_model].PAPER) | {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.09}
    adapted = adapt(earlier(params | {"epochs": 9}, 9), model, LIMITS)
    assert adapted["epochs"] == 27, "the share of the most epochs stays"
    assert adapted["optimizer"] == "sgd"
    assert adapted["momentum"] == 0.9
    # The large networks' rates end at 0.03.
    assert adapted["learning_rate"] == (0.09 if model == "baseline" else 0.03)
    frozen = adapt(earlier(params, 80), model, LIMITS._replace(pretrained=True))
    assert frozen["freeze"] in SPACES[model].FREEZE_POINTS


@pytest.mark.parametrize("strategy", ["incumbent", "random", "tpe"])
def test_they_are_tried_first_and_say_where_they_come_from(earlier_run, strategy):
    taken = read_earlier([str(earlier_run.path)])
    first = [(paper_configuration("baseline", LIMITS), Source("paper"))]
    first += [(adapt(entry, "baseline", LIMITS), source_of(entry)) for entry in taken]
    journal, sampler = make_journal(), make_sampler(strategy, limits=LIMITS, first=first)
    trials = [suggest(sampler, journal) for _ in range(NUM_TAKEN + 2)]
    assert [trial.source.kind for trial in trials] == ["paper", *["warm-start"] * NUM_TAKEN, "random"]
    assert trials[1].source == Source("warm-start", run="sketches", trial=taken[0].trial)
    assert trials[1].config["learning_rate"] == taken[0].params["learning_rate"]


def make(*flags):
    return make_settings("baseline", given_choices(build_parser().parse_args(["--model", "baseline", *flags])))


def test_the_flag_becomes_a_setting_that_cannot_change(earlier_run, tmp_path):
    path = str(earlier_run.path)
    settings = make("--warm-start", path, path)
    assert settings.warm_start == (path,)
    with pytest.raises(ValueError, match="has no search"):
        make("--warm-start", str(tmp_path))
    with pytest.raises(ValueError, match="not for --strategy one-factor"):
        make("--warm-start", path, "--strategy", "one-factor")
    with pytest.raises(ValueError, match="--warm-start"):
        change_settings(make(), {"warm_start": (path,)})
