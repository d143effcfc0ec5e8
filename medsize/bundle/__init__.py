"""Checks of a bundle's config and metadata, and of what a run is given, before it starts."""

from medsize.bundle.bundle_check import check_bundle
from medsize.bundle.config_check import config_problems
from medsize.bundle.findings import Finding, RunRefused, refuse_or_warn
from medsize.bundle.metadata_check import metadata_findings
from medsize.bundle.run_command import run_command, training_command
from medsize.bundle.running_workflow import running_workflow
from medsize.bundle.workflow_check import CONFIG, workflow_findings

__all__ = [
    "CONFIG",
    "Finding",
    "RunRefused",
    "check_bundle",
    "config_problems",
    "metadata_findings",
    "refuse_or_warn",
    "run_command",
    "running_workflow",
    "training_command",
    "workflow_findings",
]
