"""Check of a bundle's metadata against the installed packages and the cohort."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import monai
import numpy
import torch
from packaging.version import InvalidVersion, Version

from medsize.checks.findings import Finding

__all__ = ["metadata_findings"]

VERSION_KEYS = {"monai_version": monai, "pytorch_version": torch, "numpy_version": numpy}


def metadata_findings(
    metadata: Mapping[str, Any], source: str, class_names: Sequence[str] | None = None
) -> Iterator[Finding]:
    """
    Compare metadata with the installed packages and with a cohort's classes.

    A required package that is not installed is a problem. Two findings are warnings. One is a major or minor version
    other than the bundle's, since bundles mostly run with later ones. The other is a number of output channels that
    differs from the cohort's classes: a bundle may be trained on any cohort, and its metadata follow when it is shared.

    Args:
        metadata: content of metadata.json; missing entries are not compared.
        source: its file or config, for the findings.
        class_names: classes of the cohort, the background first. ``None`` if there is no cohort.
    """
    for key, package in VERSION_KEYS.items():
        yield from _version_findings(package.__name__, metadata.get(key), package.__version__, key, source)
    for name, stated in metadata.get("required_packages_version", {}).items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(source, f"{name} {stated} is required, but not installed: pip install '{name}=={stated}'.")
            continue
        yield from _version_findings(name, stated, installed, f"required_packages_version#{name}", source)
    outputs = metadata.get("network_data_format", {}).get("outputs", {})
    for output, entry in outputs.items():
        channels, names = entry.get("num_channels"), ", ".join(entry.get("channel_def", {}).values())
        if class_names is not None and channels is not None and channels != len(class_names):
            yield Finding(
                source,
                f"it says that '{output}' has {channels} channels ({names}), but "
                f"the data list has {len(class_names)} classes ({', '.join(class_names)}). That does not matter until "
                "you share the bundle: medsize export states yours. By hand, state them in num_channels and "
                f"channel_def of network_data_format#outputs#{output}.",
                is_warning=True,
            )


def _version_findings(name: str, stated: str | None, installed: str, key: str, source: str) -> Iterator[Finding]:
    if stated is None:
        return
    try:
        expected = Version(stated)
    except InvalidVersion:
        yield Finding(source, f"{key} is '{stated}', which is not a version. State one, such as {installed}.")
        return
    if Version(installed).release[:2] != expected.release[:2]:
        yield Finding(
            source,
            f"it states {name} {stated}, but {installed} is installed. Install the stated one, or, if all goes well "
            f"with yours, state that in {key}.",
            is_warning=True,
        )
