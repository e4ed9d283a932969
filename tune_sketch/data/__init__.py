"""Drawings in, one memory-mapped array with labels out; imports neither torch nor ray."""

from tune_sketch.data.prepare import prepare_data
from tune_sketch.data.request import DataError, DataRequest
from tune_sketch.data.sketch_data import SketchData, open_data
from tune_sketch.data.sources.registry import DATASETS
from tune_sketch.data.staging import NotStagedError, publish_data, stage_data

__all__ = [
    "DATASETS",
    "DataError",
    "DataRequest",
    "NotStagedError",
    "SketchData",
    "open_data",
    "prepare_data",
    "publish_data",
    "stage_data",
]
