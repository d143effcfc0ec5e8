"""Markups of 3D Slicer, written to their published schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)


def control_point(number: int, position: Sequence[float], label: str = "") -> dict[str, Any]:
    return {
        "id": str(number),
        "label": label,
        "description": "",
        "associatedNodeID": "vtkMRMLScalarVolumeNode1",
        "position": list(position),
        "orientation": [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0],
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined",
    }


def markup(kind: str, points: Sequence[Sequence[float]], name: str = "L", **own: Any) -> dict[str, Any]:
    labels = own.pop("labels", [f"{name}-{number}" for number in range(1, len(points) + 1)])
    return {
        "type": kind,
        "name": name,
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": [control_point(n, *pair) for n, pair in enumerate(zip(points, labels, strict=True), 1)],
        "measurements": [],
        "display": {"visibility": True, "opacity": 1.0, "color": [0.4, 1.0, 1.0]},
        **own,
    }


def write_markups(file: Path, *markups: Mapping[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"@schema": SCHEMA, "markups": list(markups)}, indent=4))
    return file
