"""Names of the values of label maps, as the programs that drew them write them down."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["named_labels", "segment_names", "segment_values"]

HEADER_BYTES = 256 * 1024
MAX_BYTES = 2**20
"""Largest table of labels; other texts may be anything."""
SEGMENT = re.compile(r"^Segment(\d+)_(Name|LabelValue|Layer):=(.*?)\s*$", re.MULTILINE)
SNAP_LINE = re.compile(r"\s*(\d+)(?:\s+\d+){3}\s+[\d.]+\s+[01]\s+[01]\s+\"(.*)\"\s*")
SLICER_LINE = re.compile(r"\s*(\d+)\s+(\S+)((?:\s+\d+){3,4})\s*")
TABLES = ("*.ctbl", "*.label", "*.lut", "*label*.txt", "*Label*.txt", "*LUT*.txt", "dseg.tsv", "*_dseg.tsv")
NO_STRUCTURE = {"clear label", "background", "unknown", "(none)", "none"}


def segment_names(file: Path) -> list[str]:
    """Return the names of the segments in a ``.seg.nrrd`` of 3D Slicer; none for another file."""
    return list(_segments(file)[0])


def segment_values(file: Path) -> dict[str, int]:
    """
    Return the value of each segment in a ``.seg.nrrd`` of 3D Slicer, by its name; none for another file.

    Raises:
        ValueError: when segments overlap, so that they are stored in several layers.
    """
    values, layers = _segments(file)
    if layers > 1:
        raise ValueError(
            f"{file}: its segments overlap, in {layers} layers, expected one. Export each segment as a file."
        )
    return values


def _segments(file: Path) -> tuple[dict[str, int], int]:
    """Return the value of each segment in its layer, by its name, and the number of layers."""
    if file.suffix.lower() not in (".nrrd", ".nhdr"):
        return {}, 0
    with file.open("rb") as opened:
        header = opened.read(HEADER_BYTES).split(b"\n\n")[0].replace(b"\r", b"").decode(errors="replace")
    segments: dict[str, dict[str, str]] = {}
    for number, key, value in SEGMENT.findall(header):
        segments.setdefault(number, {})[key] = value
    layers = {segment.get("Layer", "0") for segment in segments.values()}
    values = {s["Name"]: s.get("LabelValue", "") for s in segments.values() if s.get("Name")}
    return {name: int(value) for name, value in values.items() if value.isdigit()}, len(layers)


def named_labels(folders: Iterable[Path]) -> tuple[Path | None, dict[int, str]]:
    """
    Return the first table of labels in folders: of ITK-SNAP, 3D Slicer, or ``dseg.tsv`` of BIDS.

    Returns:
        the file and the name of each value; ``None`` and nothing if there is no table.
    """
    for folder in dict.fromkeys(folders):
        for file in sorted({file for pattern in TABLES for file in folder.glob(pattern)}):
            if file.is_file() and file.stat().st_size <= MAX_BYTES and (names := _read(file)):
                return file, names
    return None, {}


def _read(file: Path) -> dict[int, str]:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    names: dict[int, str] = {}
    if file.suffix.lower() == ".tsv":
        rows = list(csv.DictReader(lines, delimiter="\t"))
        pairs = [(row.get("index") or "", row.get("name") or "") for row in rows]
        names = {int(index): name for index, name in pairs if index.isdigit()}
    for line in lines:
        match = SNAP_LINE.fullmatch(line) or SLICER_LINE.fullmatch(line)
        if match is not None and not line.lstrip().startswith("#"):
            names[int(match[1])] = match[2] if '"' in line else match[2].replace("_", " ")
    return {value: name for value, name in names.items() if value > 0 and name.strip().lower() not in NO_STRUCTURE}
