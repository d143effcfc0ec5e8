"""Summary of the flags of predictions: *ok*, *look* or *reject*."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from medsize.metrics.reliability import Reliability

__all__ = ["told_flags"]


def told_flags(flags: Mapping[str, Reliability]) -> list[str]:
    """Return the lines of a summary: the number of scans with each flag, the reasons, and the checks not made."""
    counts = Counter(of_scan.flag for of_scan in flags.values())
    lines = ["scans: " + ", ".join(f"{counts[flag]} {flag}" for flag in ("ok", "look", "reject") if counts[flag])]
    lines += [
        f"{name}: {of_scan.flag}: {'; '.join(of_scan.reasons)}" for name, of_scan in flags.items() if of_scan.reasons
    ]
    checks = Counter(check for of_scan in flags.values() for check in of_scan.not_checked)
    if checks:
        lines.append("could not be checked: " + "; ".join(checks) + ": the run has recorded no such values")
    return lines
