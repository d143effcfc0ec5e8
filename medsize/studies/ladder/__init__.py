"""The ladder: the accuracy that each kind of supervision reaches, from organ tags to all masks."""

from medsize.studies.ladder.run import run_ladder
from medsize.studies.ladder.study import LadderCell, LadderStudy

__all__ = ["LadderCell", "LadderStudy", "run_ladder"]
