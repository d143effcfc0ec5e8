"""Handlers for Ignite engines: metrics, checkpoints, records and progress."""

from medsize.handlers.case_table import CaseTable, calibrate_volumes, summarise
from medsize.handlers.overlay import OverlayHandler, overlay
from medsize.handlers.progress import LossProgress
from medsize.handlers.run_checkpoint import RunCheckpoint
from medsize.handlers.run_record import RunRecord
from medsize.handlers.seed_epochs import SeedEpochs
from medsize.handlers.size_error import MeanRelativeSizeError, MeanVolumeError
from medsize.handlers.weight_schedule import WeightSchedule
from medsize.handlers.whole_epochs import WholeEpochs

__all__ = [
    "CaseTable",
    "LossProgress",
    "MeanRelativeSizeError",
    "MeanVolumeError",
    "OverlayHandler",
    "RunCheckpoint",
    "RunRecord",
    "SeedEpochs",
    "WeightSchedule",
    "WholeEpochs",
    "calibrate_volumes",
    "overlay",
    "summarise",
]
