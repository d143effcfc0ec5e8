"""A folder of pictures and a spreadsheet lead to masks of new pictures, with no option but those that save time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from medsize.bundle.run.summary import RunSummary
from tests.conftest import FEW_WORDS, fit_overrides

HEIGHT, WIDTH = 48, 72
QUICK = ["--time-limit", "1s", *fit_overrides({"max_epochs": "2", "val_interval": "1", **FEW_WORDS})]


def disc(number: int) -> np.ndarray:
    """A bright disc in noise, and where it is."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    centre = rng.integers(16, 33), rng.integers(16, 57)
    inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < rng.integers(6, 14) ** 2
    return np.stack([np.clip(rng.normal(60, 10, inside.shape) + 120 * inside, 0, 255), inside]).astype(np.uint8)


def test_a_folder_of_pictures_and_a_spreadsheet_give_masks_of_new_pictures(command: Callable, tmp_path: Path) -> None:
    for name, numbers in (("moles", range(10)), ("new", range(20, 22))):
        (tmp_path / name).mkdir()
        for number in numbers:
            Image.fromarray(disc(number)[0]).save(tmp_path / name / f"{number}.png")
    middles = {number: np.argwhere(disc(number)[1]).mean(axis=0).round()[::-1] for number in range(3)}
    clicks = {number: "{:g} {:g}".format(*middle) for number, middle in middles.items()}
    rows = [f"{number}.png,{disc(number)[1].mean():.3f},{clicks.get(number, '')}" for number in range(10)]
    (tmp_path / "moles" / "sizes.csv").write_text("\n".join(["image,mole fraction,mole click_px", *rows]))

    command("medsize.cli", "init", "moles", cwd=tmp_path)
    command("medsize.cli", "fit", "moles_prepared", *QUICK, cwd=tmp_path)
    command("medsize.cli", "predict", "runs/fit", "new", "--output", "predictions", cwd=tmp_path)

    assert RunSummary.read(tmp_path / "runs" / "fit" / "fold_0" / "lean_unet").supervision == "size+scribble"
    found = pd.read_csv(tmp_path / "predictions" / "predictions.csv")
    assert sorted(found["image"]) == ["20.png", "21.png"]
    for image, area in zip(found["image"], found["area_px"], strict=True):
        mask = np.asarray(Image.open(tmp_path / "predictions" / "masks" / image.replace(".png", "_seg.png")))
        assert mask.shape == (HEIGHT, WIDTH)
        assert (mask > 0).sum() == area
