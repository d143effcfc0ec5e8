"""A session of measuring: the scans of a cohort, what is to be measured, and what its readers have read."""

from __future__ import annotations

import os
import random
import statistics
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from medsize.cohort.find import CohortScan, FoundCohort
from medsize.files import locked
from medsize.measure.estimate import Estimate, estimate
from medsize.measure.geometry import Geometry
from medsize.measure.measured_table import TABLE, table_rows, write_table
from medsize.measure.readings import Reading, ReadingsFile, latest_readings, reader_key, reader_name
from medsize.measure.shown_scan import PLANES, ShownScan
from medsize.scans.image_file import MAX_BYTES
from medsize.suggest import first_few

__all__ = ["ChangedScanError", "MeasureSession"]

LOCK = ".sizes.lock"
SCANS_IN_MEMORY = 2
TYPICAL_SECONDS = 30.0
"""Seconds of a reading, until the reader's own are known."""


class ChangedScanError(ValueError):
    """Error of a scan that is not there any more, or whose files have changed since they were shown."""


@dataclass
class MeasureSession:
    """
    Scans, structures and readers of a session. Its methods may be called from several threads.

    Readers see their own readings only. Each gets the scans in an order of their own, which stays the same.
    """

    cohort: FoundCohort
    structures: Sequence[str]
    output_dir: Path
    max_bytes: int = MAX_BYTES
    _files: dict[str, ReadingsFile] = field(default_factory=dict)
    _shown: OrderedDict[tuple[int, str], ShownScan] = field(default_factory=OrderedDict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def scans(self) -> Sequence[CohortScan]:
        """The scans."""
        return self.cohort.scans

    @property
    def tasks(self) -> set[tuple[str, str]]:
        """Name of the scan, and structure, of all that is to be measured."""
        return {(scan.name, structure) for scan in self.scans for structure in self.structures}

    def sign_in(self, reader: str, round_number: int = 1) -> dict[str, Any]:
        """
        Open the readings of a reader, and return what is to be measured.

        Args:
            reader: the reader's name.
            round_number: 1; 2 to measure all again, blind to the first time.

        Raises:
            ValueError: when the name is no name, or measures in another process.
            ProblemsError: when the reader's file is broken.
        """
        with self._lock:
            name = reader_name(reader)
            key = reader_key(name)
            if key not in self._files:
                self._files[key] = ReadingsFile(self.output_dir, name)
            file = self._files[key]
            latest = file.latest(round_number)
            return {
                "reader": file.reader,
                "round": round_number,
                "known": len(file.readings),
                "tasks": [
                    {"scan": scan, "name": name, "structure": structure, "reading": _shown_reading(reading)}
                    for scan in self._order(file.reader, round_number)
                    for name in (self.scans[scan].name,)
                    for structure in self.structures
                    for reading in (latest.get((name, structure)),)
                ],
                **self._progress(file, round_number),
            }

    def shown(self, scan: int) -> ShownScan:
        """
        Return a scan, as it is shown.

        Raises:
            ValueError: when there is no such scan, or it cannot be read.
        """
        found = self._scan(scan)
        key = (scan, self.state(scan))
        with self._lock:
            if key not in self._shown:
                self._shown[key] = ShownScan.read(found.scan, self.max_bytes)
                while len(self._shown) > SCANS_IN_MEMORY:
                    self._shown.popitem(last=False)
            self._shown.move_to_end(key)
            return self._shown[key]

    def state(self, scan: int) -> str:
        """Return a text that changes when the files of a scan do."""
        try:
            stats = [os.stat(file) for file in self._scan(scan).scan.files]
        except OSError as e:
            raise ValueError(f"{e.filename}: it is not there any more. Put it back, or go on with the next.") from e
        return f"{sum(stat.st_size for stat in stats)}-{max(stat.st_mtime_ns for stat in stats)}"

    def describe(self, scan: int) -> dict[str, Any]:
        """Return the facts of a scan that its display needs."""
        shown = self.shown(scan)
        low, first, last, high = shown.range()
        return {
            "scan": scan,
            "name": self.scans[scan].name,
            "state": self.state(scan),
            "shape": list(shown.shape),
            "affine": shown.affine.tolist(),
            "sliceAxis": shown.slice_axis,
            "planes": list(PLANES),
            "picture": shown.is_picture,
            "colour": shown.voxels.ndim == 4,
            "ct": shown.is_ct,
            "modality": shown.modality,
            "lengthUnit": shown.length_unit,
            "range": [low, high],
            "window": [first, max(last, first + 1e-6)],
        }

    def estimate(self, scan: int, geometry: Geometry) -> Estimate:
        """
        Return the size that a drawing on a scan stands for.

        Raises:
            ValueError: when the drawing or the scan is faulty.
        """
        return estimate(geometry, self.shown(scan))

    def save(
        self,
        reader: str,
        round_number: int,
        name: str,
        structure: str,
        geometry: Geometry,
        seconds: float,
        id: str,
        state: str = "",
    ) -> dict[str, Any]:
        """
        Save a reading, and write the size table.

        Args:
            reader: a reader who has signed in.
            round_number: round of the reading.
            name: name of the scan: numbers change when scans are added, and a page may send a reading long after.
            structure: name of the structure.
            geometry: the drawing.
            seconds: time that it took.
            id: name of the reading; one that is saved already is not saved again.
            state: of the scan's files when they were shown. Default: not compared.

        Returns:
            the reading, and the progress.

        Raises:
            ChangedScanError: when the scan has changed since, or is not there any more.
            ValueError: when something is not as expected.
            OutputError: when it cannot be written.
        """
        if structure not in self.structures:
            raise ValueError(f"the structure is '{structure}', expected one of {', '.join(self.structures)}.")
        scan = next((number for number, scan in enumerate(self.scans) if scan.name == name), None)
        if scan is None:
            raise ChangedScanError(
                f"{name}: found no such scan in {self.cohort.folder}. Put it back, or go on without."
            )
        if state and geometry.method != "cannot_tell" and state != self.state(scan):
            raise ChangedScanError(
                f"{name}: the file has changed since it was shown. It was loaded again: measure anew."
            )
        try:
            size, unit = self.estimate(scan, geometry), self.shown(scan).length_unit
        except ValueError:
            if geometry.method != "cannot_tell":  # not even "absent" can be told of a scan that nobody has seen
                raise
            size, unit = Estimate("none"), "mm"
        with self._lock:
            file = self._file(reader)
            saved = file.add(
                Reading(
                    id=id,
                    reader=file.reader,
                    round=round_number,
                    scan=name,
                    structure=structure,
                    geometry=geometry,
                    length_unit=unit,
                    seconds=seconds,
                    time=datetime.now(timezone.utc),
                    kind=size.kind,
                    value=size.value,
                    low=size.low,
                    high=size.high,
                    clicks=list(size.clicks),
                    detail=size.detail,
                )
            )
            return {"reading": _shown_reading(saved), "note": self.write_table(), **self._progress(file, round_number)}

    def take_back(self, reader: str, round_number: int) -> dict[str, Any]:
        """
        Take a reader's last reading of this session's scans and structures back, and write the size table.

        Returns:
            name of the scan and structure of the reading, and the one before it that counts again; and the progress.
        """
        with self._lock:
            file = self._file(reader)
            undone = file.take_back(round_number, self.tasks)
            note = self.write_table() if undone is not None else ""
            now = file.latest(round_number).get(undone.task) if undone is not None else None
            return {
                "name": undone.scan if undone is not None else None,
                "structure": undone.structure if undone is not None else None,
                "reading": _shown_reading(now),
                "note": note,
                **self._progress(file, round_number),
            }

    def write_table(self) -> str:
        """
        Write the size table of all readers and sessions.

        Returns:
            a remark if it has another name than usual, or leaves out scans that are not there any more.
        """
        with self._lock, locked(self.output_dir, LOCK):  # readers may measure in several processes
            there = {*(scan.name for scan in self.scans), *self.cohort.unchosen}
            latest = latest_readings(self.output_dir)
            rows = table_rows([reading for reading in latest if reading.scan in there], self.structures)
            gone = sorted({reading.scan for reading in latest} - there)
            remark = ""
            if rows or (self.output_dir / TABLE).exists():
                remark = write_table(self.output_dir, rows)[1]
            if gone:
                remark += f" Left out of the table: {first_few(gone)}, not in {self.cohort.folder} any more."
            return remark.strip()

    def close(self) -> None:
        """Let other processes open the readers' files."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def _scan(self, scan: int) -> CohortScan:
        if not 0 <= scan < len(self.scans):
            raise ValueError(f"found no scan {scan}, expected 0 to {len(self.scans) - 1}.")
        return self.scans[scan]

    def _file(self, reader: str) -> ReadingsFile:
        file = self._files.get(reader_key(reader))
        if file is None:
            self.sign_in(reader)
            file = self._files[reader_key(reader)]
        return file

    def _order(self, reader: str, round_number: int) -> list[int]:
        """Return the scans in the order of a reader: by their names alone, so that new scans do not change it."""
        seed = f"{reader.casefold()} {round_number} "
        return sorted(range(len(self.scans)), key=lambda scan: random.Random(seed + self.scans[scan].name).random())

    def _progress(self, file: ReadingsFile, round_number: int) -> dict[str, Any]:
        latest = file.latest(round_number)
        done, total = len(self.tasks & latest.keys()), len(self.tasks)
        seconds = [reading.seconds for reading in latest.values()]
        each = statistics.median(seconds[-20:]) if len(seconds) >= 3 else TYPICAL_SECONDS
        return {"measured": done, "total": total, "minutesLeft": (total - done) * each / 60}


def _shown_reading(reading: Reading | None) -> dict[str, Any] | None:
    """Return what a reader sees of a reading of theirs."""
    kept = {"id", "geometry", "kind", "value", "low", "high", "detail", "seconds"}
    return None if reading is None else reading.model_dump(mode="json", include=kept)
