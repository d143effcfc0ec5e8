"""Findings of a check, and the refusal of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Finding", "RunRefused", "refuse_or_warn"]


class Finding(NamedTuple):
    """One problem: what was found, what was expected, and what to do."""

    source: str
    """File or part that it was found in."""
    text: str
    is_warning: bool = False
    """True if a run can go on with it."""


class RunRefused(SystemExit):
    """Error that ends the program with one message of all ``findings``, and the exit code 1."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = list(findings)
        super().__init__(f"medsize found what would spoil this run, and has not started it.\n{_report(findings)}")


def refuse_or_warn(findings: Sequence[Finding]) -> None:
    """
    Print warnings to stderr, unless there are problems.

    Raises:
        RunRefused: when a finding is not a warning.
    """
    if not all(finding.is_warning for finding in findings):
        raise RunRefused(findings)
    if findings:
        print(f"medsize found what does not stop a run, but may not be meant.\n{_report(findings)}", file=sys.stderr)


def _report(findings: Sequence[Finding]) -> str:
    """Return all findings as text, by source."""
    by_source: dict[str, list[Finding]] = {}
    for finding in findings:
        by_source.setdefault(finding.source, []).append(finding)
    lines = []
    for source, found in by_source.items():
        lines.append(f"{source}: {_count(found)}")
        lines += [f"  - {'warning: ' if finding.is_warning else ''}{finding.text}" for finding in found]
    return "\n".join(lines)


def _count(findings: Sequence[Finding]) -> str:
    warnings = sum(finding.is_warning for finding in findings)
    counts = {"problem": len(findings) - warnings, "warning": warnings}
    return ", ".join(f"{number} {name}{'s' if number > 1 else ''}" for name, number in counts.items() if number)
