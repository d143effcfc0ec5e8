"""The whole way: scans, readings on the page, a prepared cohort, a fit, and volumes in a new scan."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medsize.sizes.table.read import read_size_table
from tests.conftest import FEW_WORDS, fit_overrides
from tests.measure.test_page import (
    SCREEN,
    VOLUMES,
    Page,
    browser,
    count_points,
    draw_ellipses,
    draw_lines,
    phantom,
    pytestmark,
)

__all__ = ["browser", "phantom", "pytestmark"]

MEASURED = ("ball", "egg")
QUICK = ["--time-limit", "1s", *fit_overrides({"max_epochs": "2", "val_interval": "1", **FEW_WORDS})]


def test_from_readings_in_the_browser_to_volumes_in_a_new_scan(
    browser: Any,
    phantom: Path,
    command: Callable[..., subprocess.CompletedProcess],
    tmp_path: Path,
) -> None:
    shutil.copytree(phantom, tmp_path / "scans")
    words = [word for name in MEASURED for word in ("--structure", name)]
    server = subprocess.Popen(
        [sys.executable, "-m", "medsize.cli", "measure", "scans", *words, "--no-browser"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        context = browser.new_context(viewport=SCREEN)
        page = Page(context.new_page(), address)
        page.sign_in("anna")
        for scan in range(3):
            for structure in MEASURED:
                assert page.structure() == structure
                if scan == 0:
                    draw_lines(page, structure)
                elif scan == 1:
                    draw_ellipses(page, structure)
                else:
                    count_points(page, structure, "10")
                page.save()
        context.close()
    finally:
        server.terminate()
        server.wait()
    table = tmp_path / "scans_measurements" / "sizes.csv"
    assert len(read_size_table(table).rows) == 3

    command("medsize.cli", "init", "scans", "--sizes", table, "--output", "cohort", "--folds", 3, cwd=tmp_path)
    items = json.loads((tmp_path / "cohort" / "datalist.json").read_text())["training"]
    for name in MEASURED:
        assert all(np.min(item["size"][name]) <= VOLUMES[name] <= np.max(item["size"][name]) for item in items)
        assert all(name in item["clicks"] for item in items)

    command("medsize.cli", "fit", "cohort", "--output-dir", "fit", *QUICK, cwd=tmp_path)
    (tmp_path / "new").mkdir()
    shutil.copy(phantom / "scan_0.nii", tmp_path / "new" / "patient.nii")
    command("medsize.cli", "predict", "fit/fold_0/unet", "new", "--output", "predictions", cwd=tmp_path)
    predicted = pd.read_csv(tmp_path / "predictions" / "predictions.csv")
    assert list(predicted["structure"]) == list(MEASURED)
