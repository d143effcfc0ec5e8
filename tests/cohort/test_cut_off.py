"""A structure that reaches the edge of the view may be larger than what its mask shows, and this is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medsize.cli import app
from medsize.scans.scan_facts import mask_facts
from tests.cohort.cohorts import VOXEL_MM3, phantom, save


def test_a_size_above_the_mask_is_an_interval_only_where_the_mask_ends_at_an_edge(tmp_path: Path) -> None:
    drawn, rows = {}, ["image,first volume_ml,second volume_ml"]
    for number, factor in enumerate((1.5, 1.5, 1000)):
        image, mask = phantom(number)
        if number != 1:
            mask[4:9, 4:14, 0] = 1  # the first slice
        save(tmp_path / "scans" / f"p{number}" / "image.nii.gz", image)
        save(tmp_path / "scans" / f"p{number}" / "seg.nii.gz", mask)
        drawn[number] = [float((mask == value).sum() * VOXEL_MM3) for value in (1, 2)]
        rows.append(f"p{number}/image.nii.gz,{drawn[number][0] * factor / 1000},{drawn[number][1] / 1000}")
    (tmp_path / "sizes.csv").write_text("\n".join(rows))
    options = ["--structure", "first", "--structure", "second", "--sizes", str(tmp_path / "sizes.csv")]
    result = CliRunner(env={"COLUMNS": "400"}).invoke(
        app, ["init", str(tmp_path / "scans"), "--output", str(tmp_path / "out"), *options]
    )
    items = json.loads((tmp_path / "out" / "datalist.json").read_text())["training"]
    firsts = [item["size"]["first"] for item in items]
    assert [drawn[0][0], pytest.approx(1.5 * drawn[0][0])] in firsts
    assert pytest.approx(1.5 * drawn[1][0]) in firsts
    assert pytest.approx(1000 * drawn[2][0]) in firsts  # another unit
    said = "'first' reaches the first or last slice or the edge of the view in 2 of 3 masks: "
    assert result.output.count(said) == 1
    assert "'second' reaches" not in result.output
    assert (tmp_path / "out" / "report.html").read_text().count(said.replace("'", "&#39;")) == 1


def test_all_edges_count_but_those_of_an_axis_of_one_voxel(tmp_path: Path) -> None:
    for axis in range(3):
        for end in (0, -1):
            mask = np.zeros((5, 6, 7), dtype=np.uint8)
            mask[2, 2, 2] = 1
            mask[tuple(end if a == axis else 3 for a in range(3))] = 2
            assert mask_facts(save(tmp_path / f"{axis}{end}.nii", mask)).cut_off == (2.0,)
    picture = np.zeros((5, 6, 1), dtype=np.uint8)
    picture[2, 2] = 1
    assert mask_facts(save(tmp_path / "picture.nii", picture)).cut_off == ()
