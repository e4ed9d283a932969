"""Lists the tables in the order of the page: a new one is a file beside this one and a line here."""

from collections.abc import Sequence

from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.analysis.tables.calibration import TEMPERATURES
from tune_sketch.analysis.tables.costs import COSTS
from tune_sketch.analysis.tables.data import DATA
from tune_sketch.analysis.tables.finalists import FINALISTS
from tune_sketch.analysis.tables.leaderboard import LEADERBOARD
from tune_sketch.analysis.tables.mcnemar import MCNEMAR, MCNEMAR_OF_RUNS
from tune_sketch.analysis.tables.models import MODEL_COSTS
from tune_sketch.analysis.tables.networks import NETWORKS
from tune_sketch.analysis.tables.paper_results import PAPER_RESULTS, PAPER_RESULTS_OF_RUNS
from tune_sketch.analysis.tables.parameters import PARAMETERS
from tune_sketch.analysis.tables.recipe import RECIPE
from tune_sketch.analysis.tables.rungs import RUNG_COUNTS
from tune_sketch.analysis.tables.selection_bias import SELECTION_BIAS
from tune_sketch.analysis.tables.settings import SETTINGS
from tune_sketch.analysis.tables.total_time import TOTAL_TIME
from tune_sketch.analysis.tables.votes import VOTES_TABLE
from tune_sketch.analysis.tables.winner import WINNER

TABLES: tuple[Table[RunData], ...] = (
    NETWORKS,
    FINALISTS,
    WINNER,
    RECIPE,
    PAPER_RESULTS,
    SELECTION_BIAS,
    MCNEMAR,
    PARAMETERS,
    TEMPERATURES,
    VOTES_TABLE,
    DATA,
    LEADERBOARD,
    RUNG_COUNTS,
    TOTAL_TIME,
    COSTS,
    SETTINGS,
)
TABLES_OF_RUNS: tuple[Table[Sequence[RunData]], ...] = (PAPER_RESULTS_OF_RUNS, MCNEMAR_OF_RUNS, MODEL_COSTS)
