"""
Readings: the sizes that a reader has read off scans, in a file of JSON lines to which is only ever added.

Each line is a reading, or takes one back. A line that was not written to its end, as when the computer went off, is
cut off before the next one is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import unicodedata
from collections.abc import Container
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medsize.errors import ProblemsError
from medsize.files import OutputError
from medsize.measure.geometry import Geometry
from medsize.model_errors import found_and_expected

__all__ = ["Reading", "ReadingsFile", "TakenBack", "latest_readings", "reader_key", "reader_name", "readings_files"]

PREFIX, ENDING = "readings_", ".jsonl"


class Reading(BaseModel):
    """A size, or a place, that a reader has read off a scan. A reading of the same structure replaces earlier ones."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=r"^[0-9a-zA-Z-]{8,64}$")
    reader: str
    round: int = Field(default=1, ge=1)
    scan: str
    """Path of the scan from the cohort's folder."""
    structure: str
    geometry: Geometry
    length_unit: Literal["mm", "px"] = "mm"
    seconds: float = Field(ge=0, allow_inf_nan=False)
    time: datetime
    kind: Literal["volume_mm3", "fraction", "none"]
    value: float | None = None
    low: float | None = None
    high: float | None = None
    clicks: list[Any] = []
    detail: str = ""

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.geometry.method

    @property
    def task(self) -> tuple[str, str]:
        """Scan and structure."""
        return self.scan, self.structure


class TakenBack(BaseModel):
    """A reading that its reader has taken back."""

    undo: str
    """Its ``id``."""
    time: datetime


def reader_name(text: str) -> str:
    """
    Return the name of a reader: spaces at its ends and double spaces do not count.

    Raises:
        ValueError: when it cannot be part of a file's name.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not re.fullmatch(r"[^\W_][\w .-]{0,39}", name):
        raise ValueError(
            f"the reader is '{text[:60]}', expected a letter or digit, then up to 39 letters, digits, spaces, dots or "
            "dashes. Choose another name."
        )
    return name


def reader_key(reader: str) -> str:
    """Return a reader's name for comparison and for files: case, spaces or underscores, and last dots do not count."""
    return reader_name(reader).casefold().replace(" ", "_").rstrip("._")


def readings_files(folder: Path) -> list[Path]:
    """Return the files of all readers in a folder."""
    return sorted(folder.glob(f"{PREFIX}*{ENDING}"))


def latest_readings(folder: Path) -> list[Reading]:
    """
    Return the latest reading of each reader, round, scan and structure that was not taken back.

    Raises:
        ProblemsError: when a file holds a line that is no reading.
    """
    latest: dict[tuple[Path, int, tuple[str, str]], Reading] = {}
    for path in readings_files(folder):
        entries, _ = read_entries(path)
        undone = {entry.undo for entry in entries if isinstance(entry, TakenBack)}
        for entry in entries:
            if isinstance(entry, Reading) and entry.id not in undone:
                latest[path, entry.round, entry.task] = entry
    return list(latest.values())


class ReadingsFile:
    """
    The readings of one reader. While it is open, no other process opens it.

    Args:
        folder: folder of the readings.
        reader: the reader's name. Names that differ in case or spaces only are of one reader.

    Raises:
        ProblemsError: when the file holds a line that is no reading.
        ValueError: when another process has opened it, or the name is no name.
        OutputError: when it cannot be written.
    """

    def __init__(self, folder: Path, reader: str) -> None:
        name = reader_name(reader)
        self.path = folder / f"{PREFIX}{reader_key(name)}{ENDING}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as e:
            raise OutputError(self.path, e.strerror or str(e)) from e
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            os.close(self._file)
            raise ValueError(
                f"'{name}' is measuring already, in another medsize measure. Go on there, or choose another name."
            ) from e
        try:
            entries, self._end = read_entries(self.path)
        except ValueError:
            self.close()
            raise
        self._readings = {entry.id: entry for entry in entries if isinstance(entry, Reading)}
        self._taken_back = {entry.undo for entry in entries if isinstance(entry, TakenBack)}
        self.reader = next((reading.reader for reading in self._readings.values()), name)

    @property
    def readings(self) -> list[Reading]:
        """The readings that were not taken back, the oldest first."""
        return [reading for reading in self._readings.values() if reading.id not in self._taken_back]

    def latest(self, round_number: int) -> dict[tuple[str, str], Reading]:
        """Return the latest reading of each scan and structure in a round."""
        return {reading.task: reading for reading in self.readings if reading.round == round_number}

    def add(self, reading: Reading) -> Reading:
        """
        Append a reading, unless it is there; return what is there.

        Raises:
            ValueError: when it was taken back.
            OutputError: when it cannot be written. Then nothing of it is kept.
        """
        if reading.id in self._taken_back:
            raise ValueError(f"{reading.scan}, {reading.structure}: the reading was taken back. Measure anew.")
        if reading.id not in self._readings:
            self._append(reading)
            self._readings[reading.id] = reading
        return self._readings[reading.id]

    def take_back(self, round_number: int, tasks: Container[tuple[str, str]]) -> Reading | None:
        """
        Take the last reading of a round back, and return it; ``None`` if there is none.

        Args:
            round_number: the round.
            tasks: scans and structures whose readings may be taken back.

        Raises:
            OutputError: when that cannot be written.
        """
        readings = (reading for reading in reversed(self.readings) if reading.round == round_number)
        last = next((reading for reading in readings if reading.task in tasks), None)
        if last is not None:
            self._append(TakenBack(undo=last.id, time=datetime.now(timezone.utc)))
            self._taken_back.add(last.id)
        return last

    def _append(self, entry: BaseModel) -> None:
        line = entry.model_dump_json(exclude_none=True).encode() + b"\n"
        try:
            if not (self.path.exists() and os.path.samestat(os.fstat(self._file), self.path.stat())):
                raise OSError("it was moved or replaced while it was open. Start medsize measure again")
            os.ftruncate(self._file, self._end)  # what a kill or a full disk has left of a line
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as e:
            raise OutputError(self.path, e.strerror or str(e)) from e
        self._end += len(line)

    def close(self) -> None:
        """Let other processes open it."""
        os.close(self._file)


def read_entries(path: Path) -> tuple[list[Reading | TakenBack], int]:
    """
    Read the lines of a file; a last line without an end is left out.

    Returns:
        the entries, and the bytes that they take.

    Raises:
        ProblemsError: naming each line that is no reading.
    """
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    entries: list[Reading | TakenBack] = []
    problems = []
    for number, line in enumerate(content[:end].splitlines(), start=1):
        try:
            kind = TakenBack if "undo" in json.loads(line) else Reading
            entries.append(kind.model_validate_json(line))
        except (ValueError, TypeError) as e:
            found = found_and_expected(e.errors()[0]) if isinstance(e, ValidationError) else f"{e}."
            problems.append(f"line {number} is not a reading: {found} Was it edited? Restore it, or delete it.")
    if problems:
        raise ProblemsError(path, problems)
    return entries, end
