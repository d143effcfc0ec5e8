"""Metadata are compared with the bundle and its cohort."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import monai
import pytest
from packaging.version import Version

from medsize.checks import Finding, metadata_findings

RELEASE = Version(monai.__version__).release
NIBABEL = importlib.metadata.version("nibabel")


def found(metadata: dict[str, Any], class_names: list[str] | None = None) -> list[Finding]:
    return list(metadata_findings(metadata, "metadata.json", class_names))


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"monai_version": monai.__version__, "required_packages_version": {"nibabel": NIBABEL}},
        {"monai_version": f"{RELEASE[0]}.{RELEASE[1]}.99"},
    ],
    ids=["nothing stated", "the same", "another patch"],
)
def test_fitting_versions_pass(metadata: dict[str, Any]) -> None:
    assert found(metadata) == []


@pytest.mark.parametrize(
    ("metadata", "message", "is_warning"),
    [
        ({"monai_version": "0.9.0"}, f"it states monai 0.9.0, but {monai.__version__} is installed", True),
        ({"pytorch_version": "1.13.1"}, "it states torch 1.13.1, but", True),
        ({"numpy_version": "newest"}, "numpy_version is 'newest', which is not a version", False),
        (
            {"required_packages_version": {"nibabel": "1.0.0"}},
            f"it states nibabel 1.0.0, but {NIBABEL} is installed",
            True,
        ),
        (
            {"required_packages_version": {"no-such-package": "2.1"}},
            "no-such-package 2.1 is required, but not installed: pip install 'no-such-package==2.1'",
            False,
        ),
    ],
    ids=["monai", "torch", "no version", "a package", "a missing package"],
)
def test_versions_that_do_not_fit_are_found(metadata: dict[str, Any], message: str, is_warning: bool) -> None:
    [finding] = found(metadata)
    assert message in finding.text
    assert finding.is_warning is is_warning


def test_channels_are_compared_with_the_classes() -> None:
    channels = {"0": "background", "1": "heart", "2": "aorta"}
    metadata = {"network_data_format": {"outputs": {"pred": {"num_channels": 3, "channel_def": channels}}}}
    assert found(metadata, ["background", "liver", "kidney"]) == []
    [finding] = found(metadata, ["background", "liver"])
    assert (
        "has 3 channels (background, heart, aorta), but the data list has 2 classes (background, liver)" in finding.text
    )
    assert "state them in num_channels and channel_def" in finding.text
    assert finding.is_warning
