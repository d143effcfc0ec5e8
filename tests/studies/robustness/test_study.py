"""A study's file is checked, and its cells are those that it describes, in the order that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from medsize.studies.robustness import RobustnessStudy
from medsize.studies.study import load_study
from tests.conftest import PROJECT
from tests.studies.robustness.conftest import study


def loaded(tmp_path: Path, **changes: Any) -> Any:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study(**changes), sort_keys=False))
    return load_study(tmp_path / "study.yaml", RobustnessStudy)


def test_clean_labels_run_first_then_the_first_level_of_every_kind(tmp_path: Path) -> None:
    cells = loaded(tmp_path).cells()
    assert [cell.labels for cell in cells[:6]] == [
        "sizes, as given",
        "masks, as given",
        "sizes, gaussian 0.3",
        "masks, displaced 0.3",
        "sizes, gaussian 0.6",
        "masks, displaced 0.6",
    ]
    assert [cell.seed for cell in cells] == [0] * 6 + [1] * 6
    assert len({cell.folder(tmp_path) for cell in cells}) == 12


def test_a_cell_is_a_run_of_the_bundle_with_its_noise_and_seed(tmp_path: Path) -> None:
    sizes = {"noise_on": "sizes", "noise": {"gaussian": [0.3], "tags only": []}}
    masks = {"noise_on": "masks", "overlays": ["mask_supervision.yaml"], "noise": {"blocks": [0.5]}}
    found = loaded(tmp_path, supervision={"sizes": sizes, "masks": masks}, overrides={"max_epochs": 3}, seeds=[4])
    overrides = {cell.labels: found.settings(cell)["overrides"] for cell in found.cells()}
    assert overrides["sizes, as given"] == {"max_epochs": 3, "seed": 4}
    assert overrides["sizes, gaussian 0.3"] == {
        "max_epochs": 3,
        "size_noise": "gaussian",
        "noise_level": 0.3,
        "seed": 4,
    }
    assert overrides["sizes, tags only"] == {"max_epochs": 3, "size_detail": "tags", "seed": 4}
    assert overrides["masks, blocks 0.5"]["mask_noise"] == "blocks"
    cell = next(cell for cell in found.cells() if cell.noise == "blocks")
    command = found.command(cell, tmp_path, Path("/data"), Path("/work"))
    assert command[1:4] == ["-m", "monai.bundle", "run"]
    assert "mask_supervision.yaml" in command[command.index("--config_file") + 1]
    assert command[command.index("--dataset_dir") + 1] == "/data/phantoms"
    assert command[command.index("--noise_level") + 1] == "0.5"


def test_the_model_of_measured_errors_lies_beside_the_study(tmp_path: Path) -> None:
    sizes = {
        "noise_on": "sizes",
        "noise": {"measured": []},
        "overrides": {"size_noise_file": "size_noise_lines.json"},
    }
    found = loaded(tmp_path, supervision={"masks": {"noise_on": "masks"}, "sizes": sizes})
    cell = next(cell for cell in found.cells() if cell.noise == "measured")
    assert cell.labels == "sizes, measured"
    command = found.command(cell, tmp_path, Path("/data"), Path("/work"))
    assert command[command.index("--size_noise_file") + 1] == str(tmp_path / "size_noise_lines.json")
    assert command[command.index("--noise_level") + 1] == "1.0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "mask"}, "no supervision is 'mask'"),
        ({"bundel": "x"}, "bundel"),
        ({"seeds": [1, 1]}, "the same one twice"),
        ({"supervision": {"masks": {"noise_on": "masks", "noise": {"gaussian": [0.3]}}}}, "has no kind 'gaussian'"),
        ({"supervision": {"masks": {"noise_on": "masks", "noise": {"blocks": []}}}}, "needs levels"),
        ({"supervision": {"masks": {"noise_on": "masks", "noise": {"blocks": [-1]}}}}, "expected more than 0"),
        ({"supervision": {"masks": {"noise_on": "sizes", "noise": {"terciles": [0.3]}}}}, "has no levels"),
        ({"supervision": {"masks": {"noise_on": "masks", "minutes_by_noise": {"blocks": 1}}}}, "which noise does not"),
        ({"cohorts": []}, "expected 1 or more entries"),
        ({"networks": {"a b": {}, "a-b": {}}}, "the same folder"),
        (
            {
                "networks": {"a": {}, "a b": {}},
                "supervision": {"b masks": {"noise_on": "masks"}, "masks": {"noise_on": "masks"}},
            },
            "would share a folder",
        ),
        ({"supervision": {"sizes": {"noise_on": "sizes", "noise": {"swapped": [3]}}}}, "are shares"),
    ],
)
def test_a_faulty_study_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as e:
        loaded(tmp_path, **changes)
    assert "study.yaml" in str(e.value)


@pytest.mark.parametrize("name", ["robustness_acdc.yaml", "robustness_hippocampus.yaml"])
def test_the_studies_that_come_along_are_sound(name: str) -> None:
    file = PROJECT / "benchmarks" / name
    found = load_study(file, RobustnessStudy)
    assert found.gallery == 0
    for cell in found.cells():
        assert found.command(cell, file.parent, Path("/data"), Path("/work"))
