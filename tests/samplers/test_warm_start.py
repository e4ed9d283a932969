"""Earlier searches shape the first suggestions: what is taken, how it is made to fit, and what is recorded."""

import pytest

from tests.samplers.test_incumbent import MemoryJournal
from tests.support.fake_runs import begin_run, make_finished_run
from tune_sketch.config.flags import build_parser, given_choices, make_settings
from tune_sketch.config.settings import SearchSettings
from tune_sketch.samplers.incumbent import RungSearcher
from tune_sketch.samplers.warm_start import NUM_TAKEN, adapt, choose_in_turn, origin_of, read_earlier
from tune_sketch.schedulers.rungs import rank_trials
from tune_sketch.search_spaces import SPACES
from tune_sketch.search_spaces.common import SpaceLimits
from tune_sketch.storage.resume import change_settings

LIMITS = SpaceLimits(max_epochs=27, pretrained=False)


@pytest.fixture(scope="module")
def earlier_run(tmp_path_factory):
    return make_finished_run(tmp_path_factory.mktemp("earlier") / "sketches")


def test_the_best_of_each_are_taken_in_turn():
    ranked = [[{"trial": n} for n in (1, 2, 3)], [{"trial": n} for n in (11, 12)]]
    assert [entry["trial"] for entry in choose_in_turn(ranked)] == [1, 11, 2, 12]
    assert [entry["trial"] for entry in choose_in_turn(ranked[:1])] == [1, 2, 3]
    assert NUM_TAKEN == 4


def test_an_earlier_run_gives_its_best_but_not_the_studys_configuration(earlier_run):
    journal = earlier_run.open_journal(read_only=True)
    best = [r for r in rank_trials(journal.trials) if r.origin["kind"] != "study"]
    taken = read_earlier([str(earlier_run.path)])
    assert [entry["trial"] for entry in taken] == [record.number for record in best[:NUM_TAKEN]]
    assert taken[0] == {"run": "sketches", "trial": best[0].number, "params": best[0].params, "max_epochs": 9}


def test_a_run_without_an_epoch_is_named(tmp_path):
    run, journal = begin_run(tmp_path / "empty")
    journal.close()
    with pytest.raises(ValueError, match="none of its trials trained for an epoch"):
        read_earlier([str(run.path)])


@pytest.mark.parametrize("model", SPACES)
@pytest.mark.parametrize("earlier_model", SPACES)
def test_what_is_taken_fits_every_space(model, earlier_model):
    params = dict(SPACES[earlier_model].STUDY) | {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.09}
    adapted = adapt({"params": params | {"epochs": 9}, "max_epochs": 9}, model, LIMITS)
    assert adapted["epochs"] == 27, "the share of the most epochs stays"
    assert adapted["optimizer"] == "sgd"
    assert adapted["momentum"] == 0.9
    # The large networks' rates end at 0.03.
    assert adapted["learning_rate"] == (0.09 if model == "baseline" else 0.03)
    frozen = adapt({"params": params, "max_epochs": 80}, model, LIMITS._replace(pretrained=True))
    assert frozen["freeze"] in SPACES[model].FREEZE_POINTS


def test_they_are_tried_first_and_say_where_they_come_from(earlier_run):
    taken = read_earlier([str(earlier_run.path)])
    journal = MemoryJournal()
    searcher = RungSearcher(
        journal,
        SPACES["baseline"],
        LIMITS,
        [2, 6, 18, 27],
        seed=0,
        num_samples=20,
        first=[dict(adapt({"params": SPACES["baseline"].STUDY, "max_epochs": 80}, "baseline", LIMITS))],
        earlier=[(adapt(entry, "baseline", LIMITS), origin_of(entry)) for entry in taken],
        job=lambda record: {"key": record.key},
    )
    records = [searcher.suggest_new() for _ in range(NUM_TAKEN + 2)]
    assert [record.origin["kind"] for record in records] == ["study", *["warm-start"] * NUM_TAKEN, "random"]
    assert records[1].origin == {"kind": "warm-start", "rung": None, "run": "sketches", "trial": taken[0]["trial"]}
    assert records[1].config["learning_rate"] == taken[0]["params"]["learning_rate"]


def make(*flags):
    return make_settings("baseline", given_choices(build_parser().parse_args(["--model", "baseline", *flags])))


def test_the_flag_becomes_a_setting_that_survives_json_and_cannot_change(earlier_run, tmp_path):
    path = str(earlier_run.path)
    settings = make("--warm-start", path, path)
    assert settings.warm_start == (path,)
    assert SearchSettings.from_json(settings.to_json() | {"warm_start": [path]}) == settings
    with pytest.raises(ValueError, match="has no search"):
        make("--warm-start", str(tmp_path))
    with pytest.raises(ValueError, match="not for --strategy one-factor"):
        make("--warm-start", path, "--strategy", "one-factor")
    with pytest.raises(ValueError, match="--warm-start"):
        change_settings(earlier_run, {"warm_start": (path,)})
