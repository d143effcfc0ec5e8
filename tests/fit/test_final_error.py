"""The final network is compared with predictors that look at no scan."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from medsize.bundle.run.summary import MetricResult, RunResults, RunSummary
from medsize.data.load_cohort import load_cohort
from medsize.fit.final_error import better_teacher, final_error, validation_cases
from medsize.fit.plan import Plan, Stage


@pytest.mark.parametrize(
    ("sizes", "predicted", "expected"),
    [
        ([100, 300], 240, "size error 0.04 on 1 scan never trained on; the training scans' mean size, said for every"),
        ([100, 300], 150, "size error 0.40 on 1 scan never trained on, no better than the training scans' mean size, "),
        ([100, 3000], 150, "size error 0.40 on 1 scan never trained on; finding nothing: 1.00"),
        ([100, 3000], 0, "size error 1.00 on 1 scan never trained on, no better than finding nothing: 1.00. Do not"),
    ],
)
def test_a_network_that_is_no_better_than_looking_at_no_scan_is_told_of(
    phantoms: Path, tmp_path: Path, sizes: list[float], predicted: float, expected: str
) -> None:
    images = [f"images/phantom_00{number}.nii.gz" for number in range(3)]
    about = zip(images, [250, *sizes], [0, 1, 1], strict=True)
    items = [{"image": image, "size": {"liver": size}, "fold": fold} for image, size, fold in about]
    listed = {"labels": {"0": "background", "1": "liver"}, "size_unit": "mm3", "training": items}
    (tmp_path / "datalist.json").write_text(json.dumps(listed))
    cohort = load_cohort(tmp_path / "datalist.json", phantoms)
    row = {"image": str(phantoms / images[0]), "subject": "a", "structure": "liver"}
    row |= {"true_low_ml": 0.25, "true_high_ml": 0.25, "relative_size_error": abs(predicted - 250) / 250}
    (tmp_path / "run").mkdir()
    pd.DataFrame([row]).to_csv(tmp_path / "run" / "metrics.csv", index=False)
    stage = Stage(kind="training", title="UNet", reason="", folder="run", fold=0, is_result=True)
    plan = Plan(bundle=tmp_path, network="unet", decisions=(), stages=(stage,))
    assert str(final_error(validation_cases(plan, tmp_path), cohort, plan)).startswith(expected)


def test_pictures_of_many_scales_are_compared_with_the_mean_fraction(tmp_path: Path) -> None:
    """Structures fill 30 % of each view, whatever its extent, so that the mean size is no guess."""
    items = []
    for number, side in enumerate((1.0, 2.0, 8.0)):
        image = nibabel.Nifti1Image(np.zeros((10, 10, 1), dtype=np.int16), np.diag([side, side, 1, 1]))
        nibabel.save(image, tmp_path / f"{number}.nii")
        items.append({"image": f"{number}.nii", "size": {"head": 30 * side**2}, "fold": number // 2})
    listed = {"labels": {"0": "background", "1": "head"}, "size_unit": "mm3", "training": items}
    (tmp_path / "datalist.json").write_text(json.dumps(listed))
    cohort = load_cohort(tmp_path / "datalist.json", tmp_path)
    ml = items[2]["size"]["head"] / 1000
    row = {"image": str(tmp_path / "2.nii"), "structure": "head", "true_low_ml": ml, "true_high_ml": ml}
    stage = Stage(kind="training", title="UNet", reason="", folder="run", fold=1, is_result=True)
    plan = Plan(bundle=tmp_path, network="unet", decisions=(), stages=(stage,))
    error = final_error(pd.DataFrame([row | {"relative_size_error": 0.4, "fold": "run"}]), cohort, plan)
    assert error is not None
    assert error.predictor.startswith("the training scans' mean fraction of the view")
    assert error.blind == pytest.approx(0, abs=1e-6)
    assert error.is_useless


@pytest.mark.parametrize(
    ("errors", "better"), [((0.14, 0.16, 0.9), "first"), ((0.5, 0.14, 0.9), "second"), ((0.9, 0.3, 0.33), None)]
)
def test_a_teacher_that_is_clearly_better_is_named(
    tmp_path: Path, errors: tuple[float, ...], better: str | None
) -> None:
    stages = [
        Stage(kind="training", title=name, reason="", folder=name, fold=0, is_result=name == "student")
        for name in ("first", "second", "student")
    ]
    for stage, error in zip(stages, errors, strict=True):
        (tmp_path / stage.folder).mkdir()
        RunSummary(results=RunResults(relative_size_error=MetricResult(mean=error))).write(tmp_path / stage.folder)
    found = better_teacher(Plan(bundle=tmp_path, network="unet", decisions=(), stages=tuple(stages)), tmp_path)
    assert (found and found[0].folder) == better
