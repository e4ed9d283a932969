"""A task's space in the words of ConfigSpace, which SMAC3 and DEHB take."""

from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace
from ConfigSpace import UniformFloatHyperparameter as Float
from ConfigSpace import UniformIntegerHyperparameter as Integer
from protocol import Task


def make_space(task: Task) -> ConfigurationSpace:
    """The space, with the task's seed."""
    space = ConfigurationSpace(seed=task.seed)
    for name, parameter in task.space.items():
        if parameter["kind"] == "choice":
            space.add(CategoricalHyperparameter(name, list(range(parameter["num_choices"]))))
        else:
            kind = Integer if parameter["kind"] == "int" else Float
            space.add(kind(name, parameter["low"], parameter["high"], log=parameter["log"]))
    return space
