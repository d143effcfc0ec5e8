"""Studies of robustness: how wrong labels may be, and what that costs."""

from medsize.studies.robustness.run import StudyResult, run_robustness
from medsize.studies.robustness.study import Cell, Study, load_study

__all__ = ["Cell", "Study", "StudyResult", "load_study", "run_robustness"]
