"""The bundles are what their sources say, and read well."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bundles.source.assemble import SOURCE, assembled, differences
from tests.bundles.conftest import every_bundle

SHARED = "# Of both\na: 1  # one\nb: !bundle\nc: !bundle  # of this file\nd:\n  e: !bundle\nlast: 2\n"
OWN = 'b: "x"  # of this bundle\nc: [1, 2]  # of this bundle\ne:\n- 3  # three\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "shared" / "configs").mkdir(parents=True)
    (tmp_path / "shared" / "configs" / "train.yaml").write_text(SHARED)
    (tmp_path / "shared" / "metadata.json").write_text('{"name": "!bundle", "parts": {"c": "!bundle", "is": true}}')
    (tmp_path / "small.yaml").write_text(f"{OWN}name: Small\n")
    return tmp_path


@every_bundle
def test_bundles_are_as_their_sources_have_them(bundle: Path) -> None:
    assert list(differences(bundle.name, bundle)) == []


@every_bundle
def test_the_training_config_is_read_in_one_go(bundle: Path) -> None:
    lines = (bundle / "configs" / "train.yaml").read_text().splitlines()
    assert len(lines) < 300
    assert max(map(len, lines)) <= 120


def test_a_bundle_gets_its_own_keys_and_their_comments(source: Path) -> None:
    first, *lines = assembled("small", source)["configs/train.yaml"].splitlines()
    assert first.startswith("# Written by make bundles from bundles/source/shared/configs/train.yaml")
    assert lines == [
        *("# Of both", "a: 1  # one", 'b: "x"  # of this bundle', "c: [1, 2]  # of this file", "d:", "  e:"),
        *("  - 3  # three", "last: 2"),
    ]
    assert yaml.safe_load(assembled("small", source)["metadata.json"]) == {
        "name": "Small",
        "parts": {"c": [1, 2], "is": True},
    }


def test_a_key_without_a_value_is_left_out(source: Path) -> None:
    (source / "small.yaml").write_text(OWN.replace('b: "x"', "b:") + "name: Small\n")
    assert "b" not in yaml.safe_load(assembled("small", source)["configs/train.yaml"])


@pytest.mark.parametrize(
    ("own", "message"),
    [(OWN, "found no 'name', expected it for"), (f"{OWN}name: Small\nnam: x\n", "found nam, which no file")],
    ids=["missing", "unknown"],
)
def test_keys_that_do_not_fit_are_refused(source: Path, own: str, message: str) -> None:
    (source / "small.yaml").write_text(own)
    with pytest.raises(ValueError, match=message):
        assembled("small", source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.write_text(file.read_text().replace("batch_size: 4 ", "batch_size: 5 ")), "+batch_size: 5 "),
        (lambda file: file.unlink(), "Change bundles/source; run make bundles."),
        (lambda file: shutil.copy(file, file.with_name("old.yaml")), "old.yaml: found no source of it"),
    ],
    ids=["changed", "missing", "left over"],
)
def test_a_bundle_that_differs_from_its_source_is_told_of(tmp_path: Path, change: Callable, message: str) -> None:
    bundle = shutil.copytree(SOURCE.parent / "size_seg_3d", tmp_path / "size_seg_3d")
    change(bundle / "configs" / "train.yaml")
    [problem] = differences("size_seg_3d", bundle)
    assert message in problem
    assert "train.yaml" in problem or "old.yaml" in problem
