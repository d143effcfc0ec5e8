"""Summary of the flags of predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from medsize.metrics.reliability import FLAGS, LEAST_SCANS, Reliability

__all__ = ["told_flags", "told_unchecked"]


def told_flags(flags: Mapping[str, Reliability], noun: str = "scan") -> list[str]:
    """Return the lines of a summary: the number of scans with each flag, and the reasons."""
    counts = Counter(of_scan.flag for of_scan in flags.values())
    lines = [f"{noun}s: " + ", ".join(f"{counts[flag]} {flag}" for flag in FLAGS if counts[flag])]
    return lines + [
        f"{name}: {of_scan.flag}: {'; '.join(of_scan.reasons)}" for name, of_scan in flags.items() if of_scan.reasons
    ]


def told_unchecked(flags: Iterable[Reliability], validated: int, noun: str = "scan") -> str:
    """
    Return a line with the checks that were not made, and the reason; empty if all were made.

    Args:
        flags: of the scans.
        validated: number of scans that the run was validated on; 0 if it has not recorded it.
        noun: word for a scan. Defaults to ``"scan"``.
    """
    flags = list(flags)
    checks = dict.fromkeys(check for of_scan in flags for check in of_scan.not_checked)
    if not checks:
        return ""
    reason = (
        f"a check needs the value of the new {noun}, and of {LEAST_SCANS} of the {validated} {noun}s of the validation"
    )
    if validated == 0:
        reason = "the run has recorded no such values"
    elif validated < LEAST_SCANS:
        reason = f"the run was validated on {validated} {noun}s, and a check needs {LEAST_SCANS}"
    if all(of_scan.flag == "unchecked" for of_scan in flags):
        return f"no {noun} could be checked: {reason}."
    return f"could not be checked: {'; '.join(checks)}. {reason[0].upper()}{reason[1:]}."
