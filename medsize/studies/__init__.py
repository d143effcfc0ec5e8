"""Studies: many runs of a bundle, side by side, that survive being stopped."""

from medsize.studies.ladder import run_study
from medsize.studies.ladder_study import Study, load_study

__all__ = ["Study", "load_study", "run_study"]
