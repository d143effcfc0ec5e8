"""What a config leaves open is proposed from the cohort, and told before the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from typer.testing import CliRunner

from medsize.checks import RunRefused, check_bundle
from medsize.checks.proposed_settings import refers_to
from medsize.cli import app
from tests.conftest import BUNDLE_2D, BUNDLE_3D

both_bundles = pytest.mark.parametrize("bundle", [BUNDLE_2D, BUNDLE_3D], ids=["2D", "3D"])
PROPOSED = {
    BUNDLE_2D: {"size_level": "slice", "spacing": [6.0, 6.0], "roi_size": [32, 32]},
    BUNDLE_3D: {
        "spacing": [6.0, 6.0, 16.0],
        "roi_size": [32, 32, 8],
        "strides": [[2, 2, 1], [2, 2, 2], [2, 2, 2]],
    },
}


@both_bundles
def test_a_cohort_alone_passes_the_check_which_tells_what_was_proposed(bundle: Path, phantoms: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(bundle), "--dataset_dir", str(phantoms)])
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.output.splitlines() if line.startswith("  ") and "  # " in line]
    told = {line.split(": ")[0]: json.loads(line.split(": ", 1)[1].split("  # ")[0]) for line in lines}
    assert told == {**PROPOSED[bundle], "orientation": "RAS", "use_roi": False, "intensity_window": None}
    assert "# mm; about the median 6 × 6" in result.output


def test_what_is_given_is_not_proposed_and_the_window_follows_the_spacing(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "mine.yaml").write_text("use_roi: true\nintensity_window: [0, 1]\n")
    given = {"dataset_dir": str(phantoms), "spacing": [3.0, 3.0], "size_level": "volume"}
    check_bundle(BUNDLE_2D, ["train.yaml", str(tmp_path / "mine.yaml")], **given)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  roi_size: [64, 64]  # voxels; 95 % of the regions of interest are at most 192 × 192 mm",
        '  orientation: "RAS"  # 9 of 9 scans are stored so, as new ones will be',
    ]
    check_bundle(BUNDLE_2D, **given, roi_size=[64, 64], orientation="", use_roi=False, intensity_window="$None")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"roi_size": [32, 32], "spacing": [0.5, 0.5]}, "the region given to the network has only"),
        ({"spacing": "abc"}, "spacing is 'abc', expected a list of numbers."),
        ({"use_roi": "maybe"}, "use_roi is 'maybe': any text counts as true."),
        ({"max_epochs": "ten"}, "1 problem\n  - max_epochs is 'ten', expected a whole number.$"),
        ({"max_epochs": 0, "mask_share": None}, "1 problem\\n  - max_epochs is 0, expected 1 or more."),
        ({"learning_rate": "fast"}, "learning_rate is 'fast', expected a number."),
        ({"amp": "maybe"}, "amp is 'maybe': any text counts as true."),
        ({"device": "cuda9"}, "device is 'cuda9': expected a device such as cpu or cuda:0."),
        ({"roi_size": ["a", "b"]}, "1 problem\n  - roi_size is ..a., .b.., expected a list of numbers.$"),
        ({"orientation": "RAR"}, "orientation is 'RAR': expected L or R, A or P, and S or I in any order, such as RAS"),
        ({"roi_size": [32, 32, 8]}, "roi_size is .32, 32, 8., expected 2 numbers, one for each axis of the network."),
        ({"num_slices": 0}, "num_slices is 0, expected 1 or more"),
        ({"fixed_axis": 2}, "fixed_axis is 2, expected an axis of the network, 0 to 1, or null"),
        ({"fixed_axis": -1}, "fixed_axis is -1, expected 0 or more"),
        ({"use_first_labels": "false"}, "use_first_labels is the text 'false', which counts as true. Write False, as"),
        ({"network_def::act": "null"}, "network_def::act is the text 'null', which counts as true. Write None, as"),
    ],
    ids=[
        *("too small", "no spacing", "neither true nor false", "a word", "no epoch", "no rate", "perhaps"),
        *("no device", "letters", "an axis twice", "an axis too many"),
        *("no slice", "no axis of the network", "an axis before the first"),
        *("a word that counts as its opposite", "no word of Python"),
    ],
)
def test_a_bad_value_is_refused_as_ever(phantoms: Path, given: dict, message: str) -> None:
    with pytest.raises(RunRefused, match=message):
        check_bundle(BUNDLE_2D, dataset_dir=str(phantoms), **given)


@both_bundles
def test_broken_scans_are_named_one_by_one(bundle: Path, phantoms: Path, tmp_path: Path) -> None:
    content = json.loads((phantoms / "datalist.json").read_text())
    for number, item in enumerate(content["training"]):
        item["image"] = f"{number}.nii.gz"
        (tmp_path / item["image"]).write_bytes(b"broken")
        del item["label"], item["scribble"], item["slice_size"]
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    with pytest.raises(RunRefused) as refused:
        check_bundle(bundle, dataset_dir=str(tmp_path))
    found = [finding.text for finding in refused.value.findings if not finding.is_warning]
    assert len(found) == 9
    assert all("the image cannot be read" in text for text in found)


def test_dependence_on_a_key_is_found_through_other_keys() -> None:
    config = {"cohort": 1, "a": {"_target_": "x", "b": ["$@c + 1"]}, "c": "$@cohort", "d": "@e", "e": "$@d"}
    parser = ConfigParser(config)
    assert [key for key in config if refers_to(parser, key, "cohort")] == ["cohort", "a", "c"]


@both_bundles
def test_a_cohort_alone_starts_and_leaves_plain_values(
    command: Callable, bundle: Path, phantoms: Path, tmp_path: Path
) -> None:
    config, output = bundle / "configs" / "train.yaml", tmp_path / "run"
    options = ["--dataset_dir", phantoms, "--output_dir", output, "--max_epochs", 1, "--val_interval", 1]
    command("monai.bundle", "run", "--bundle_root", bundle, "--config_file", config, *options, cwd=tmp_path)
    recorded = ConfigParser.load_config_file(str(output / "config.yaml"))
    summary = json.loads((output / "summary.json").read_text())
    inference = json.loads((output / "inference.json").read_text())
    for key, value in PROPOSED[bundle].items():
        assert recorded[key] == summary.get(key, value) == inference.get(key, value) == value
    assert (recorded["use_roi"], recorded["intensity_window"]) == (summary["roi"], inference["intensity_window"])
    assert (recorded["use_roi"], recorded["intensity_window"]) == (False, None)
