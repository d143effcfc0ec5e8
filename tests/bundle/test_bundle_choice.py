"""Bundles are found by name or path, wherever medsize lies."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import medsize
from medsize.bundle.bundle_choice import bundle_name, find_bundle, go_on_commands, own_bundles
from medsize.cli import app
from tests.conftest import BUNDLE_2D, BUNDLE_3D


def test_own_bundles_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert own_bundles() == {"size_seg_2d": BUNDLE_2D, "size_seg_3d": BUNDLE_3D}
    assert find_bundle("size_seg_3d") == BUNDLE_3D
    assert bundle_name(BUNDLE_3D) == "size_seg_3d"
    (tmp_path / "size_seg_3d").mkdir()  # such as a folder of runs
    assert find_bundle("size_seg_3d") == BUNDLE_3D


def test_paths_are_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared" / "size_seg_2d" / "configs").mkdir(parents=True)
    assert find_bundle(str(BUNDLE_2D)) == BUNDLE_2D
    assert find_bundle("shared/size_seg_2d", tmp_path) == tmp_path / "shared" / "size_seg_2d"
    monkeypatch.chdir(tmp_path / "shared")
    assert find_bundle("size_seg_2d").resolve() == tmp_path / "shared" / "size_seg_2d"  # the one at hand
    assert bundle_name(find_bundle("size_seg_2d")) == "size_seg_2d"


def test_bundles_of_an_installed_package_are_within_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "medsize"
    shutil.copytree(BUNDLE_2D / "configs", package / "bundles" / "mine" / "configs")
    (package.parent / "bundles" / "other" / "configs").mkdir(parents=True)  # of another distribution
    monkeypatch.setattr(medsize, "__file__", str(package / "__init__.py"))
    assert own_bundles() == {"mine": package / "bundles" / "mine"}


@pytest.mark.parametrize(
    "command",
    [
        "train BUNDLE",
        "check BUNDLE",
        "export BUNDLE --output out",
        "init . --output out --bundle BUNDLE",
        "predict . . --output out --bundle BUNDLE",
        f"locate . {__file__} --output out --bundle BUNDLE",
    ],
    ids=lambda command: command.split()[0],
)
@pytest.mark.parametrize(
    ("name", "hint"),
    [("size_seg2d", "Did you mean 'size_seg_2d'?"), (f"{BUNDLE_3D}d", f"Did you mean '{BUNDLE_3D}'?"), ("liver", "")],
    ids=["name", "path", "neither"],
)
def test_what_is_neither_is_refused_with_the_names_that_there_are(command: str, name: str, hint: str) -> None:
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, [name if w == "BUNDLE" else w for w in command.split()])
    assert result.exit_code == 2
    assert f"{name}: found no such bundle, expected size_seg_2d, size_seg_3d or the folder of another" in result.output
    assert hint in result.output


def test_commands_to_go_on_name_the_bundle_in_short(tmp_path: Path) -> None:
    overlay = tmp_path / "cohort" / "cohort.yaml"
    overlay.parent.mkdir()
    overlay.write_text("max_epochs: 1\n")
    for dimensions, bundle, name in ((2, None, "size_seg_2d"), (3, BUNDLE_3D, "size_seg_3d")):
        fit, _, check, train, run, *_ = go_on_commands(dimensions, overlay, bundle)
        assert fit.startswith(f"medsize fit {overlay.parent} {f'--bundle {name} ' if bundle else ''}--output-dir ")
        assert check.startswith(f"medsize check {name} --config train.yaml ")
        assert train.startswith(f"medsize train {name} --overlay ")
        assert f"--bundle_root {own_bundles()[name]} " in run
    copy = shutil.copytree(BUNDLE_2D, tmp_path / "my bundle")
    assert go_on_commands(2, overlay, copy)[3].startswith(f"medsize train '{copy}' --overlay imagenet.yaml ")


@pytest.mark.parametrize(("level", "overlays"), [("slice", ["imagenet.yaml"]), ("volume", ["imagenet.yaml"])])
def test_commands_to_go_on_take_the_recipe_for_the_sizes_at_hand(
    level: str, overlays: list[str], tmp_path: Path
) -> None:
    overlay = tmp_path / "cohort" / "cohort.yaml"
    overlay.parent.mkdir()
    overlay.write_text(f"size_level: {level}\n")
    _, _, check, train, run, *_ = map(shlex.split, go_on_commands(2, overlay))
    assert check[3:-2] == [part for name in ["train.yaml", *overlays, str(overlay)] for part in ("--config", name)]
    assert train[3:-2] == [part for name in [*overlays, str(overlay)] for part in ("--overlay", name)]
    files = yaml.safe_load(run[run.index("--config_file") + 1])
    assert [Path(file).name for file in files] == ["train.yaml", *overlays, "cohort.yaml"]
