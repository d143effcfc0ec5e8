"""Tables of converted scans are whole, and what names patients is for their owner only."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from medsize.cohort.conversion.scans import read_table, write_table


def test_a_private_table_is_never_open_to_others(tmp_path: Path) -> None:
    file = tmp_path / "identifiers.csv"
    left = tmp_path / ".partial_identifiers.csv"  # by a run that was killed
    left.write_text("image")
    left.chmod(0o644)
    modes = []

    def rows() -> Iterator[dict[str, str]]:
        modes.append(stat.S_IMODE(left.stat().st_mode))
        yield {"image": "images/a.nii.gz", "subject": "Doe"}

    write_table(file, ("image", "subject"), rows(), private=True)
    assert modes == [0o600]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_table(file) == {"images/a.nii.gz": {"image": "images/a.nii.gz", "subject": "Doe"}}
