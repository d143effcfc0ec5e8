"""The ladder: the accuracy that each kind of supervision reaches, from organ tags to all masks."""

from medsize.studies.ladder.run import run_study
from medsize.studies.ladder.study import Study, load_study

__all__ = ["Study", "load_study", "run_study"]
