"""Fit: one command from a prepared cohort to a shared bundle."""

from medsize.fit.plan import Plan, Wishes
from medsize.fit.run import fit_cohort, shared_run
from medsize.fit.stages import StageFailed

__all__ = ["Plan", "StageFailed", "Wishes", "fit_cohort", "shared_run"]
