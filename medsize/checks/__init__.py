"""Checks of a bundle, a cohort and its scans before a run starts."""

from medsize.checks.bundle_check import check_bundle
from medsize.checks.config_check import config_problems
from medsize.checks.findings import Finding, RunRefused, refuse_or_warn
from medsize.checks.first_labels import open_first_labels
from medsize.checks.metadata_check import metadata_findings
from medsize.checks.regions import open_regions
from medsize.checks.run_check import check_run, open_cohort
from medsize.checks.scans import check_scans
from medsize.checks.workflow_check import CONFIG, workflow_findings

__all__ = [
    "CONFIG",
    "Finding",
    "RunRefused",
    "check_bundle",
    "check_run",
    "check_scans",
    "config_problems",
    "metadata_findings",
    "open_cohort",
    "open_first_labels",
    "open_regions",
    "refuse_or_warn",
    "workflow_findings",
]
