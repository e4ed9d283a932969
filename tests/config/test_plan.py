"""The plan's offers where no data were given."""

import shlex

import pytest

from tests.support.drawings import draw
from tune_sketch.config.flags import build_parser, given_choices, make_settings
from tune_sketch.config.plan import CLASSES_OF_PEOPLE, plan_lines, prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.data.doodles import CATEGORIES
from tune_sketch.data.quickdraw_classes import QUICKDRAW_CLASSES


def offers(settings: Settings) -> list[str]:
    return [line for line in plan_lines(settings, prepare_inputs(settings)) if "--download" in line]


@pytest.mark.parametrize("model", ["baseline", "resnet50"])
def test_without_data_it_offers_drawings_by_people_of_the_same_things(model):
    """The flags can be copied: they are accepted, and name classes that Quick, Draw! has."""
    (line,) = offers(Settings(model, per_class=10))
    flags = shlex.split(line[line.index("--data") :])
    settings = make_settings(model, given_choices(build_parser().parse_args(["--model", model, *flags])))
    assert (settings.data, settings.download) == ("quickdraw", True)
    assert 2 <= len(settings.classes) <= CLASSES_OF_PEOPLE
    assert set(settings.classes) <= set(QUICKDRAW_CLASSES) & set(CATEGORIES)
    if model == "resnet50":
        assert settings.classes == ("bicycle", "envelope", "fish", "ladder", "sun", "umbrella")


def test_with_data_it_offers_nothing(tmp_path):
    for number in range(20):
        (tmp_path / ("bus", "car")[number % 2]).mkdir(exist_ok=True)
        draw(number).save(tmp_path / ("bus", "car")[number % 2] / f"{number}.png")
    assert offers(Settings("baseline", data=str(tmp_path), image_px=16, protocol="small")) == []
