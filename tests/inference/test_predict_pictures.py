"""Pictures get masks in their own size and orientation as stored, and areas."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

from medsize.bundle.run.folder import INFERENCE, WEIGHTS
from medsize.bundle.run.summary import RunSummary
from medsize.inference.predict import predict
from medsize.metrics.reliability import CohortFacts, StructureRange, Usual
from medsize.sizes.table.read import read_size_table
from tests.conftest import BUNDLE_2D


def write_red_run(run: Path, **settings: object) -> Path:
    """Write a finished run whose network is one convolution: the lesion is what is red."""
    run.mkdir()
    network = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 1}
    inference = {"spacing": [1.0, 1.0], "roi_size": [32, 32], "num_classes": 3, "structures": ["lesion", "other"]}
    inference |= {"in_channels": 3, "network_def": network, "checkpoint": str(run / WEIGHTS), "length_unit": "px"}
    RunSummary(bundle=str(BUNDLE_2D), roi=False).write(run)
    (run / INFERENCE).write_text(json.dumps(inference | settings))
    weight = torch.zeros(3, 3, 1, 1)
    weight[1, :, 0, 0] = torch.tensor([50.0, -50.0, -50.0])
    torch.save({"weight": weight, "bias": torch.tensor([0.0, -25.0, -100.0])}, run / WEIGHTS)
    return run


def red_square(height: int = 40, width: int = 61) -> np.ndarray:
    """A picture with a red rectangle of 10 × 20 pixels, which are not at its edge, and black, grey and white."""
    pixels = np.full((height, width, 3), 128, dtype=np.uint8)
    pixels[:3], pixels[-3:] = 0, 255
    pixels[5:15, 30:50] = [255, 0, 0]
    return pixels


def test_masks_have_the_pictures_size_and_orientation_as_stored(command: Callable, tmp_path: Path) -> None:
    run, folder = write_red_run(tmp_path / "run"), tmp_path / "pictures"
    (folder / "a").mkdir(parents=True)
    pixels = red_square()
    Image.fromarray(pixels).save(folder / "a" / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "turned.png", exif=exif)
    Image.fromarray(pixels[..., 0]).save(folder / "grey.bmp")
    tifffile.imwrite(folder / "pages.tif", np.stack([pixels, pixels[::-1]]), photometric="rgb")
    Image.fromarray(np.full_like(pixels, 90)).save(folder / "flat.png")
    (folder / "broken.png").write_bytes(b"no picture")

    (tmp_path / "sizes.csv").write_text("image,lesion area_px,other fraction\nturned,100,0\na/plain,,10 %\n")
    arguments = ["predict", run, folder, "--output", "out", "--sizes", "sizes.csv"]
    result = command("medsize.cli", *arguments, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert "broken.png" in result.stderr
    assert "flat.png: the picture has a single intensity" in result.stdout
    output = tmp_path / "out"
    expected = np.zeros((40, 61), dtype=np.uint8)
    expected[5:15, 30:50] = 1
    truths = {"a_plain": expected, "turned": expected, "pages_1": expected, "pages_2": expected[::-1]}
    for name, truth in (truths | {"grey": np.zeros_like(expected), "flat": np.zeros_like(expected)}).items():
        np.testing.assert_array_equal(np.asarray(Image.open(output / "masks" / f"{name}_seg.png")), truth, name)
    table = pd.read_csv(output / "predictions.csv").set_index(["image", "structure"])
    assert set(table.index) == {
        (image, structure)
        for image in ("a/plain.png", "flat.png", "grey.bmp", "pages.tif#1", "pages.tif#2", "turned.png")
        for structure in ("lesion", "other")
    }
    lesion = table.loc[("turned.png", "lesion")]
    assert (lesion["mask"], lesion["area_px"], lesion["lower_bound"]) == ("masks/turned_seg.png", 200, False)
    assert lesion["fraction"] == pytest.approx(200 / (40 * 61), rel=1e-5)
    assert lesion[["area_mm2", "circumference_mm"]].isna().all()
    assert (lesion["low_px"], lesion["high_px"], lesion["relative_size_error"]) == (100, 100, 1)
    assert table.loc[("a/plain.png", "other"), "low_px"] == pytest.approx(244)
    page = (output / "predictions.html").read_text()
    assert "area, px<" in page
    assert " mL" not in page
    assert (output / "montage.png").read_bytes().startswith(b"\x89PNG")


def test_each_picture_has_the_pixels_that_its_row_states(tmp_path: Path) -> None:
    run = write_red_run(tmp_path / "run", length_unit="mm", spacing=[0.6, 0.6])
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("fine", "coarse"):
        Image.fromarray(red_square()).save(folder / f"{name}.png")
    (tmp_path / "sizes.csv").write_text("image,pixel_mm,lesion area_mm2\nfine,0.5,50\ncoarse,,100\n")
    table = read_size_table(tmp_path / "sizes.csv")
    assert predict(run, folder, tmp_path / "out", size_table=table, pixel_mm=1.0) == []
    areas = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index(["image", "structure"])
    for name, mm2, stated in (("fine.png", 0.25, 50), ("coarse.png", 1.0, 100)):
        row = areas.loc[(name, "lesion")]
        assert row["area_mm2"] == row["area_px"] * mm2
        assert row["low_mm2"] == stated


def test_a_picture_without_a_pixel_size_does_not_spoil_the_comparison_of_others(tmp_path: Path) -> None:
    run = write_red_run(tmp_path / "run", length_unit="mm", fit_to_window=True, roi_size=[61, 40])
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("fine", "coarse", "unknown"):
        Image.fromarray(red_square()).save(folder / f"{name}.png")
    rows = "fine,0.5,50,0\ncoarse,1,400,0\nunknown,,,10 %\n"
    (tmp_path / "sizes.csv").write_text(f"image,pixel_mm,lesion area_mm2,other fraction\n{rows}")
    assert predict(run, folder, tmp_path / "out", size_table=read_size_table(tmp_path / "sizes.csv")) == []
    areas = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index(["image", "structure"])
    for name, stated in (("fine.png", 50), ("coarse.png", 400)):
        lesion = areas.loc[(name, "lesion")]
        assert (lesion["low_mm2"], lesion["high_mm2"]) == (stated, stated)
        assert lesion["relative_size_error"] == pytest.approx(abs(lesion["area_mm2"] - stated) / stated, rel=1e-4)
    other = areas.loc[("unknown.png", "other")]
    assert other[["area_mm2", "low_mm2", "high_mm2"]].isna().all()
    assert other["relative_size_error"] == 1
    assert areas.loc[("unknown.png", "lesion"), "area_px"] > 0
    page = (tmp_path / "out" / "predictions.html").read_text()
    assert "area, mm²<" in page
    assert "% of the picture" in page
    assert "nan mm²" not in page

    (tmp_path / "sizes.csv").write_text("image,pixel_mm,lesion area_mm2\nfine,0.5,50\ncoarse,1,400\nunknown,,9\n")
    table = read_size_table(tmp_path / "sizes.csv")
    (problem,) = predict(run, folder, tmp_path / "out", size_table=table)
    assert "row 4: column 'lesion area_mm2' (C) needs the size of the picture's pixels" in problem


@pytest.mark.parametrize(
    "settings",
    [{"length_unit": "mm", "spacing": [0.6, 0.6]}, {"length_unit": "mm", "fit_to_window": True, "roi_size": [64, 64]}],
)
def test_a_large_picture_gets_the_same_mask_in_tiles_and_the_same_flag(tmp_path: Path, settings: dict) -> None:
    usual = StructureRange(None, None, 0, 0.0, None, 0.003, 0.1)
    facts = CohortFacts(9, {"lesion": usual}, {"mean_intensity": Usual(0.5, 0.1)})
    run, folder = write_red_run(tmp_path / "run", **settings, cohort_facts=facts.recorded()), tmp_path / "pictures"
    folder.mkdir()
    tifffile.imwrite(folder / "tiled.tif", red_square(300, 310), photometric="rgb", tile=(64, 64), compression="zlib")
    if "fit_to_window" not in settings:
        with pytest.raises(ValueError, match="found no size of its pixels"):
            predict(run, folder, tmp_path / "refused")
    else:
        told: list[str] = []
        predict(run, folder, tmp_path / "unknown", large=10**4, report=told.append)
        assert "area_mm2 and circumference_mm are empty for 1 of 1 pictures" in "\n".join(told)
    masks = {}
    for name, large in (("small", 10**6), ("large", 10**4)):
        lines: list[str] = []
        assert predict(run, folder, tmp_path / name, pixel_mm=0.5, large=large, report=lines.append) == []
        assert "pictures: 1 look" in lines
        assert any(re.match(r"tiled: look: lesion fills 0\.[12]\d+ % of the picture; those", line) for line in lines)
        table = pd.read_csv(tmp_path / name / "predictions.csv").set_index("structure")
        assert table.loc["lesion", "area_mm2"] == table.loc["lesion", "area_px"] / 4 == pytest.approx(50, rel=0.2)
        assert table.loc["lesion", "circumference_mm"] == pytest.approx(28, rel=0.1)  # ellipse of 11.5 × 23.1 pixels
        masks[name] = table.loc["lesion", "mask"]
    assert masks == {"small": "masks/tiled_seg.png", "large": "masks/tiled_seg.tif"}
    again: list[str] = []
    predict(run, folder, tmp_path / "small", pixel_mm=0.5, large=10**6, report=again.append)
    assert f"{tmp_path / 'small'}: 1 of 1 pictures are segmented already" in again
    with tifffile.TiffFile(tmp_path / "large" / masks["large"]) as file:
        assert file.pages[0].is_tiled
        np.testing.assert_array_equal(file.asarray(), np.asarray(Image.open(tmp_path / "small" / masks["small"])))
