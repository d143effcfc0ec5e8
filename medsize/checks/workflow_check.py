"""Check of a workflow without its data."""

from __future__ import annotations

from collections.abc import Sequence

from monai.bundle import ConfigWorkflow

from medsize.checks.config_check import config_problems
from medsize.checks.config_values import value_problems
from medsize.checks.findings import Finding
from medsize.checks.metadata_check import metadata_findings

__all__ = ["CONFIG", "workflow_findings"]

CONFIG = "the config, with overlays and overrides"


def workflow_findings(workflow: ConfigWorkflow, class_names: Sequence[str] | None = None) -> list[Finding]:
    """
    Check a workflow's config and its metadata.

    Args:
        workflow: workflow with a parsed config.
        class_names: classes of the cohort, the background first. ``None`` if there is no cohort.
    """
    problems = [*config_problems(workflow), *value_problems(workflow.parser.config)]
    metadata = workflow.parser.get("_meta_") or {}
    source = str(workflow.meta_file or "the metadata in the config")
    return [
        *(Finding(CONFIG, problem) for problem in problems),
        *metadata_findings(metadata, source, class_names),
    ]
