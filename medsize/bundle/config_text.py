"""Replacement of parts in the text of a config that keeps its comments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

__all__ = ["ORIGIN", "blocks", "merged", "overlaid"]

ORIGIN = "# Written by make bundles"
"""Beginning of the first line in files that are assembled from sources."""
BLOCK = re.compile(r"^(\w+):[^\n]*?(  #[^\n]*)?\n(?:[ -][^\n]*\n)*", re.MULTILINE)
"""A top-level key, its comment, and its value, up to the next line that is neither indented nor an item."""


def blocks(config: str) -> dict[str, str]:
    """
    Return the lines of each top-level key.

    Args:
        config: text of a YAML config.
    """
    return {block[1]: block[0] for block in BLOCK.finditer(config)}


def merged(config: str, values: Mapping[str, Any]) -> str:
    """
    Set some top-level keys of a YAML config, and keep everything else, comments included.

    Args:
        config: text of the config.
        values: new values by key. Every key must exist.

    Raises:
        ValueError: when the config has no such key.
    """
    for key, value in values.items():
        block = _find(config, key)
        if block is None:
            raise ValueError(f"the config has no key '{key}'.")
        if isinstance(value, dict):
            text = yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=None, width=120).rstrip("\n")
        else:
            plain = yaml.safe_dump([value], default_flow_style=True, width=float("inf"), allow_unicode=True)
            text = f"{key}: {plain.strip()[1:-1]}"
        config = config[: block.start()] + text + (block[2] or "") + "\n" + config[block.end() :]
    return config


def overlaid(config: str, overlay: str) -> str:
    """
    Give a YAML config the top-level keys of an overlay, with the overlay's comments; new ones go to the end.

    Args:
        config: text of the config.
        overlay: text of the overlay.
    """
    new = []
    for key, text in blocks(overlay).items():
        block = _find(config, key)
        if block is None:
            new.append(text)
        else:
            config = config[: block.start()] + text + config[block.end() :]
    return "\n".join([config, "".join(new)]) if new else config


def _find(config: str, key: str) -> re.Match[str] | None:
    return next((block for block in BLOCK.finditer(config) if block[1] == key), None)
