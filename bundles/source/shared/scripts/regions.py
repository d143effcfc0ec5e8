"""Scans with their regions of interest, from a data list."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def scans_with_roi(data_list: str, dataset_dir: str) -> list[dict[str, Any]]:
    """
    Return image and roi of each item of a data list, those to train and to validate on alike.

    A roi is ``{"center_mm": [x, y, z]}`` or ``{"box_mm": [[x, y, z], [x, y, z]]}`` in scanner mm (RAS+). Without one,
    it is the middle of the item's ``clicks`` but those in the background. They are LPS if ``click_space`` says so.

    Args:
        data_list: JSON in the Decathlon layout.
        dataset_dir: folder that its paths start from, else that of the data list.

    Raises:
        SystemExit: with one message, when there is no such list, or an item has no file or no roi.
    """
    file = Path(data_list)
    scans: list[dict[str, Any]]
    try:
        content = json.loads(file.read_bytes())
        items = [*content.get("training", ()), *content.get("validation", ())]
        scans = [{"image": str(item["image"]), "roi": _roi(item, content)} for item in items]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as e:
        raise SystemExit(
            f"{file}: found no data list ({type(e).__name__}: {e}), expected JSON with a list 'training' of scans. Set "
            "data_list to one."
        ) from e
    folders = (Path(dataset_dir), file.parent)
    for scan in scans:
        found = (path for folder in folders if (path := folder / scan["image"]).is_file())
        scan["image"] = str(next(found, scan["image"]))
    _refuse(file, "file", [scan["image"] for scan in scans if not Path(scan["image"]).is_file()])
    _refuse(file, "roi", [scan["image"] for scan in scans if scan["roi"] is None])
    return scans


def _roi(item: Mapping[str, Any], content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the roi of an item of a data list, or the middle of its clicks; ``None`` without both."""
    if item.get("roi") is not None:
        roi: Mapping[str, Any] = item["roi"]
        return roi
    background = content.get("labels", {}).get("0")
    clicks = {name: places for name, places in (item.get("clicks") or {}).items() if name != background}
    middles = [_middle(place) for places in clicks.values() for place in places]
    if not middles:
        return None
    x, y, z = _middle(middles)
    return {"center_mm": [-x, -y, z] if content.get("click_space") == "LPS" else [x, y, z]}


def _middle(place: Sequence[Any]) -> list[float]:
    """Return a point itself, or the mean of several points."""
    points = place if isinstance(place[0], Sequence) else [place]
    return [sum(map(float, along)) / len(points) for along in zip(*points, strict=True)]


def _refuse(file: Path, missing: str, images: Sequence[str]) -> None:
    if images:
        named = ", ".join(images[:3]) + (" and others" if len(images) > 3 else "")
        raise SystemExit(f"{file}: found no {missing} for {named}, expected one for each scan. Add them.")
