"""Size tables and scans that tests write."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import openpyxl
import pytest
from hypothesis import HealthCheck, settings

from medsize.sizes.table.read import read_size_table
from medsize.sizes.table.size_table import SizeTableError

Row = Sequence[Any]


def write_csv(path: Path, *rows: Row, separator: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def write_xlsx(path: Path, *rows: Row) -> Path:
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(list(row))
    workbook.save(path)
    return path


def write_scan(
    path: Path, shape: Sequence[int] = (10, 10, 4), affine: np.ndarray | None = None, value: float = 0.0
) -> None:
    """Voxels of 2 × 2 × 5 mm by default: 8000 mm³, of slices of 400 mm²."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([2.0, 2.0, 5.0, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(np.full(shape, value, dtype=np.float32), affine), path)


def problems_of(path: Path) -> list[str]:
    with pytest.raises(SizeTableError) as caught:
        read_size_table(path)
    assert str(path) in str(caught.value)
    return caught.value.problems


in_a_folder = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
