"""Search strategies: each proposes the next configuration as a pure function of the history."""

from tune_sketch.samplers.base import Sampler
from tune_sketch.samplers.baselines import LastValueSampler, UniformSampler
from tune_sketch.samplers.incumbent import IncumbentSampler
from tune_sketch.samplers.one_factor import OneFactorSampler

SAMPLERS: dict[str, type[Sampler]] = {  # by --strategy; a new one is a file and a line here
    sampler.name: sampler for sampler in (IncumbentSampler, OneFactorSampler, UniformSampler, LastValueSampler)
}

__all__ = ["SAMPLERS", "Sampler"]
