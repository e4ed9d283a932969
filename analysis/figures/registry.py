"""Lists the figures in the order of the page: a new one is a file beside this one and a line here."""

from collections.abc import Sequence

from tune_sketch.analysis.figures.activation_maps import ACTIVATION_MAPS
from tune_sketch.analysis.figures.averaging import AVERAGING
from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.best_so_far import BEST_SO_FAR
from tune_sketch.analysis.figures.calibration import CALIBRATION
from tune_sketch.analysis.figures.classes import CLASSES
from tune_sketch.analysis.figures.confused_pairs import CONFUSED_PAIRS
from tune_sketch.analysis.figures.confusion import CONFUSION
from tune_sketch.analysis.figures.finalist_curves import FINALIST_CURVES
from tune_sketch.analysis.figures.first_layer import FIRST_LAYER
from tune_sketch.analysis.figures.importance import IMPORTANCE
from tune_sketch.analysis.figures.inversion import INVERSION
from tune_sketch.analysis.figures.label_distribution import LABEL_DISTRIBUTION
from tune_sketch.analysis.figures.losses import LEARNING_RATE_BY_OPTIMIZER, LEARNING_RATES, OPTIMIZERS
from tune_sketch.analysis.figures.models import MODEL_CURVES, MODELS
from tune_sketch.analysis.figures.parallel_coordinates import PARALLEL_COORDINATES
from tune_sketch.analysis.figures.rungs import RUNGS
from tune_sketch.analysis.figures.samples import SAMPLES, VARIATION
from tune_sketch.analysis.figures.seed_variance import SEED_VARIANCE
from tune_sketch.analysis.figures.slices import SLICES
from tune_sketch.analysis.figures.timeline import TIMELINE
from tune_sketch.analysis.figures.trial_curves import TRIAL_CURVES
from tune_sketch.analysis.run_data import RunData

FIGURES: tuple[Figure[RunData], ...] = (
    FINALIST_CURVES,
    AVERAGING,
    SEED_VARIANCE,
    TRIAL_CURVES,
    RUNGS,
    BEST_SO_FAR,
    IMPORTANCE,
    PARALLEL_COORDINATES,
    SLICES,
    OPTIMIZERS,
    LEARNING_RATES,
    LEARNING_RATE_BY_OPTIMIZER,
    TIMELINE,
    SAMPLES,
    VARIATION,
    LABEL_DISTRIBUTION,
    INVERSION,
    CONFUSION,
    CONFUSED_PAIRS,
    CLASSES,
    CALIBRATION,
    ACTIVATION_MAPS,
    FIRST_LAYER,
)
FIGURES_OF_RUNS: tuple[Figure[Sequence[RunData]], ...] = (MODELS, MODEL_CURVES)
