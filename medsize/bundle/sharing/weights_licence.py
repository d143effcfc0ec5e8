"""Licence of trained weights: it follows from that of the scans that they were trained on."""

from __future__ import annotations

import json
import re
from pathlib import Path

__all__ = ["LICENCES", "weights_licence"]

LICENCES = {
    "apache-2.0": "Apache License 2.0",
    "mit": "MIT License",
    "cc0-1.0": "CC0 1.0",
    **{f"cc-by-{version}": f"CC BY {version}" for version in ("2.0", "2.5", "3.0", "4.0")},
    **{f"cc-by-sa-{version}": f"CC BY-SA {version}" for version in ("3.0", "4.0")},
    **{f"cc-by-nc-{version}": f"CC BY-NC {version}" for version in ("2.0", "3.0", "4.0")},
    **{f"cc-by-nc-sa-{version}": f"CC BY-NC-SA {version}" for version in ("2.0", "3.0", "4.0")},
}
"""Names of licences by their identifier on the Hugging Face hub."""
LATEST = {"cc0": "cc0-1.0", "apache": "apache-2.0"}
BINDING = ("-sa-", "-nc-")
"""Parts of licences that what is made from the data must keep: share alike, not for commercial use."""


def weights_licence(data_list: Path | None, stated: str | None = None) -> str:
    """
    Return the licence of weights, as the Hugging Face hub names it.

    Args:
        data_list: data list of the cohort that they were trained on, whose key ``licence`` (or ``license``) counts.
        stated: licence that the user states. It may replace an unknown one, and one that binds to nothing.

    Raises:
        ValueError: when there is none, it is unknown, or the data's licence does not allow the stated one.
    """
    if stated is not None and (stated := _identifier(stated)) not in LICENCES:
        raise ValueError(f"--license: found '{stated}', expected one of {', '.join(LICENCES)}.")
    of_data = _licence_of_data(data_list)
    known = _identifier(of_data) if of_data else ""
    if known in LICENCES and any(part in known for part in BINDING) and stated not in (None, known):
        raise ValueError(
            f"{data_list}: found the licence '{of_data}', which binds what is made from the data, expected '{stated}'. "
            f"Leave --license out, or correct the data list."
        )
    if stated is not None:
        return stated
    if known not in LICENCES:
        found = f"the licence '{of_data}'" if of_data else "no licence"
        raise ValueError(
            f"{data_list or 'the run'}: found {found} of the scans, expected one that says how weights may be shared. "
            'Ask their owners. Then state it in the data list ("licence": "CC BY 4.0"), or give --license cc-by-4.0.'
        )
    return known


def _licence_of_data(data_list: Path | None) -> str:
    if data_list is None or not data_list.is_file():
        return ""
    content = json.loads(data_list.read_bytes())
    return str(content.get("licence") or content.get("license") or "").strip()


def _identifier(name: str) -> str:
    """Return ``cc-by-sa-4.0`` for "CC BY-SA 4.0" and the like."""
    words = re.sub(r"[\s_-]+", "-", re.sub(r"\b(licen[cs]e|version)\b", "", name, flags=re.IGNORECASE).strip().lower())
    return LATEST.get(words.strip("-"), words.strip("-"))
