"""Studies of robustness: how wrong labels may be, and what that costs."""

from medsize.studies.robustness.run import StudyResult, run_robustness
from medsize.studies.robustness.study import RobustnessCell, RobustnessStudy

__all__ = ["RobustnessCell", "RobustnessStudy", "StudyResult", "run_robustness"]
