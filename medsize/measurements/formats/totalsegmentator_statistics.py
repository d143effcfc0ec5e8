"""
Volumes of TotalSegmentator, ``statistics.json``.

Source: ``get_basic_statistics`` in
https://github.com/wasserth/TotalSegmentator/blob/master/totalsegmentator/statistics.py: ``{"liver": {"volume": mm³,
"intensity": …}, …}``. The volume of a structure that reaches an edge of the scan is 0, like that of an absent one.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, RootModel, ValidationError

from medsize.measurements.formats.volumes import volume_readings
from medsize.measurements.measurement import Readings, ReadOptions
from medsize.model_errors import found_and_expected

__all__ = ["is_totalsegmentator_statistics", "read_totalsegmentator_statistics"]


class _Structure(BaseModel):
    volume: float
    intensity: float


class _Statistics(RootModel[dict[str, _Structure]]):
    pass


def is_totalsegmentator_statistics(file: Path, start: bytes) -> bool:
    """Return whether a file is of TotalSegmentator, by its ending and its keys."""
    return file.suffix.lower() == ".json" and b'"volume":' in start and b'"intensity":' in start


def read_totalsegmentator_statistics(file: Path, options: ReadOptions) -> Readings:
    """
    Read the volumes of all structures. A volume of 0 is unknown.

    Raises:
        ValueError: when the file does not follow the format.
    """
    try:
        statistics = _Statistics.model_validate(json.loads(file.read_bytes())).root
    except (ValueError, RecursionError) as e:
        found = found_and_expected(e.errors()[0]) if isinstance(e, ValidationError) else f"{e}."
        expected = 'Expected {"liver": {"volume": mm³, "intensity": …}, …}.'
        raise ValueError(f"{file}: {found} {expected} Run TotalSegmentator --statistics again.") from e
    return volume_readings(file, ((f"'{name}'", name, found.volume) for name, found in statistics.items()))
