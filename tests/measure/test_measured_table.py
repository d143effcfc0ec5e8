"""The table of readings becomes a cohort as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from medsize.cohort import InitOptions, init_cohort
from medsize.measure.geometry import Geometry
from medsize.measure.run import measure_cohort
from medsize.sizes.table.read import read_size_table
from medsize.sizes.table.size_table import SizeTable
from tests.cohort.cohorts import write_images

CLICK = {"method": "click", "at": [12, 12, 10]}
LINES = {"method": "lines", "lines": [[[10, 10, 10], [24, 10, 10]]]}
OTHERS = {"method": "lines", "lines": [[[40, 50, 10], [50, 50, 10]]]}
PERCENT = {"method": "percent", "percent": 12, "at": [-5, -5, 0]}
CLICK_ON_PICTURE = {"method": "click", "at": [-9, -9, 0]}
ABSENT, CANNOT_TELL = {"method": "absent"}, {"method": "cannot_tell"}


def measured(scans: Path, readings: dict[str, list[dict[str, Any]]]) -> SizeTable:
    """The table of two readers who say the same about the scans, for each structure in their order."""
    server = measure_cohort(scans, list(readings))
    session = server.session
    for reader in ("anna", "ben"):
        for structure, drawn in readings.items():
            for scan, geometry in enumerate(drawn):
                parsed = TypeAdapter(Geometry).validate_python(geometry)
                id = f"{structure}-{scan}-0001".replace(" ", "-")
                session.save(reader, 1, session.scans[scan].name, structure, parsed, 3.0, id)
    session.close()
    server.server_close()
    return read_size_table(session.output_dir / "sizes.csv")


def items(scans: Path, table: SizeTable, output: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Items of the data list, and the doubts."""
    prepared = init_cohort(scans, output, table, InitOptions(num_folds=2), report=lambda line: None)
    assert not prepared.problems
    listed = json.loads((output / "datalist.json").read_text())["training"]
    return listed, prepared.suspicions


def test_scans_that_were_clicked_alone_absent_or_not_told_reach_the_plan(command: Callable, tmp_path: Path) -> None:
    write_images(tmp_path / "scans", 4)
    readings = {"cube": [CLICK, LINES, LINES, LINES], "cube mask": [CANNOT_TELL, ABSENT, ABSENT, OTHERS]}
    table = measured(tmp_path / "scans", {**readings, "never": [CANNOT_TELL] * 4})
    listed, doubts = items(tmp_path / "scans", table, tmp_path / "out")
    unknown = [item for item in listed if item["size"]["cube"] is None]
    assert [(item["size"]["cube mask"], list(item["clicks"])) for item in unknown] == [(None, ["cube"])]
    assert sum(item["size"]["cube mask"] == 0 for item in listed) == 2
    source = json.loads((tmp_path / "out" / "datalist.json").read_text())["size_source"]
    assert "medsize measure (click, cannot_tell); medsize measure (lines, absent, cannot_tell)" in source
    assert (
        sum("the size of 'never' is not known in any scan. State it in some, or delete" in doubt for doubt in doubts)
        == 1
    )
    command("medsize.cli", "fit", "out", "--plan-only", "--output-dir", "fit", cwd=tmp_path)


def test_pages_of_a_file_and_parts_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    pages = [Image.fromarray(np.random.default_rng(n).integers(0, 255, (40, 60), dtype=np.uint8)) for n in range(4)]
    pages[0].save(tmp_path / "scans" / "pages.tif", save_all=True, append_images=pages[1:3])
    pages[3].save(tmp_path / "scans" / "single.png")
    table = measured(tmp_path / "scans", {"nuclei area": [PERCENT, ABSENT, CLICK_ON_PICTURE, PERCENT]})
    listed, _ = items(tmp_path / "scans", table, tmp_path / "out")
    areas = sorted(np.max(item["slice_size"]["nuclei area"]) for item in listed if "slice_size" in item)
    assert areas == pytest.approx([0, 403.2, 403.2])
    assert [(item["clicks"], item["size"]) for item in listed if "clicks" in item] == [
        ({"nuclei area": [[-9, -9, 0]]}, {"nuclei area": None})
    ]


def test_clicks_without_any_size_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "scans", 2)
    table = measured(tmp_path / "scans", {"cube": [CLICK, CLICK]})
    with pytest.raises(ValueError, match="found clicks, but no size of any scan, expected some"):
        items(tmp_path / "scans", table, tmp_path / "out")
