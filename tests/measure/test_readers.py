"""How wrong and how fast readers are."""

from __future__ import annotations

import csv
import math
from datetime import datetime, timezone
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from medsize.cli import app
from medsize.data.phantom import PHANTOM_CLASSES
from medsize.measure.agreement import error_model, icc, repeated_readings
from medsize.measure.geometry import Lines
from medsize.measure.readings import Reading, ReadingsFile
from medsize.sizes.error_model import ErrorModel

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


def test_the_icc_of_shrout_and_fleiss() -> None:
    assert icc(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)
    assert icc(np.repeat([[1.0], [2.0], [5.0]], 3, axis=1)) == pytest.approx(1)
    with pytest.raises(ValueError, match="two of each at least"):
        icc(np.ones((1, 2)))


def test_bland_and_altman_of_a_reader_who_reads_a_tenth_more() -> None:
    first = np.array([10.0, 20.0, 40.0])
    found = repeated_readings(np.stack([first, 1.1 * first], axis=1))
    assert found is not None
    assert found.difference == pytest.approx(0.2 / 2.1)
    assert found.high - found.low == pytest.approx(0, abs=1e-9)
    assert found.cv == pytest.approx(0.1 / math.sqrt(2) / 1.05)


def test_the_model_finds_bias_spread_and_heavy_tails() -> None:
    rng = np.random.default_rng(0)
    truths = rng.uniform(1, 100, 2000)
    model = error_model(1.2 * truths * np.exp(0.1 * rng.standard_t(3, 2000)), truths)
    assert model is not None
    assert (model.bias, model.spread) == pytest.approx((1.2, 0.1), rel=0.1)
    assert 2 < model.degrees < 5
    few = error_model([1.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    assert few is not None
    assert few.degrees == math.inf
    assert error_model([1.0], [1.0]) is None


def test_the_report_compares_with_masks_rounds_and_readers(phantoms: Path, tmp_path: Path) -> None:
    scans = sorted(phantoms.glob("images/*.nii.gz"))[:4]
    truths = {}
    for scan in scans:
        mask = nibabel.load(phantoms / "masks" / scan.name)
        voxel = float(np.prod(mask.header.get_zooms()))
        truths[scan.name] = float((np.asarray(mask.dataobj) == 1).sum()) * voxel
    present = [name for name, volume in truths.items() if volume]
    lines = Lines(lines=[((0, 0, 0), (1, 0, 0))])
    for reader, round_number, factor in (("anna", 1, 1.1), ("anna", 2, 1.0), ("ben", 1, 0.9)):
        file = ReadingsFile(tmp_path, reader)
        for name, volume in truths.items():
            value = factor * volume
            sizes = {"kind": "volume_mm3", "value": value, "low": 0.95 * value, "high": 1.2 * value}
            file.add(
                Reading(
                    id=f"{reader}-{round_number}-{name[8:11]}", scan=f"images/{name}", reader=reader,
                    round=round_number,
                    structure="liver", geometry=lines, seconds=10, time=datetime.now(timezone.utc), **sizes,
                )
            )  # fmt: skip
        file.close()
    named = [word for name in PHANTOM_CLASSES[1:] for word in ("--structure", name)]
    result = CliRunner().invoke(app, ["readers", str(phantoms), "--measurements", str(tmp_path), *named])
    assert result.exit_code == 0, result.output
    (row,) = csv.DictReader((tmp_path / "readers.csv").open())
    assert (row["readings"], row["readers"], row["seconds"]) == ("12", "2", "10")
    assert int(row["with_mask"]) == 3 * len(present)
    assert float(row["mre"]) == pytest.approx(0.2 / 3, abs=1e-3)
    assert float(row["in_interval"]) == pytest.approx(2 / 3, abs=1e-3)
    assert float(row["intra_difference"]) == pytest.approx(-0.2 / 2.1, abs=1e-3)
    assert float(row["inter_difference"]) == pytest.approx(-0.2, abs=1e-3)
    model = ErrorModel.read(tmp_path / "size_noise_lines.json")
    assert (model.method, model.readings) == ("lines", 3 * len(present))
    assert (model.bias, model.spread) == pytest.approx((float(row["bias"]), float(row["spread"])), rel=1e-3)
    assert "Against masks" in (tmp_path / "readers.html").read_text()
    assert "not compared" not in result.output
    unnamed = CliRunner().invoke(app, ["readers", str(phantoms), "--measurements", str(tmp_path)])
    assert "not compared: liver: the masks show structure_1, structure_2, structure_3." in unnamed.output
    assert "--structure NAME" in unnamed.output


def test_no_readings_are_refused(phantoms: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["readers", str(phantoms), "--measurements", str(tmp_path)])
    assert result.exit_code == 1
    assert "found no readings" in result.output
