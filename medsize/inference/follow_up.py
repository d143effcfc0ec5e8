"""Follow-up: the change of each structure between predictions of two dates."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from rich.markup import escape
from rich.table import Table

from medsize.errors import ProblemsError
from medsize.files import atomic_write, keep_inputs
from medsize.inference.output_folder import RECORD
from medsize.metrics.size_change import Sized, size_change
from medsize.scans.roles import without_ending
from medsize.scans.subjects import bids_subject
from medsize.sizes.table.spreadsheet import read_cells
from medsize.suggest import first_few
from medsize.units import size_text

__all__ = ["FollowUp", "Scan", "compare", "read_pairs"]

COLUMNS = {"image": str, "mask": str, "structure": str, "volume_ml": float, "lower_bound": bool}
"""Columns of a table of predictions that are needed, and their types."""
AGAIN = "The same medsize predict writes it anew."
BEYOND, WITHIN, UNKNOWN = "beyond noise", "within noise", "cannot tell"


@dataclass(frozen=True)
class Scan:
    """Scan of a folder of predictions."""

    image: str
    """Its path, as ``predictions.csv`` has it."""
    structures: Mapping[str, Mapping[str, Any]]
    """Rows of ``predictions.csv``."""
    patient: str
    """Hash of the PatientID of DICOM; else the label in BIDS; else the path without its ending."""
    known: Mapping[str, str]
    """Patient and date by DICOM, see :func:`medsize.inference.scanned_patient.scanned_patient`."""
    is_by_path: bool
    """True if only the path tells the patient."""


@dataclass
class FollowUp:
    """Changes of structures."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    folders: tuple[Path, ...] = ()
    """The folders of predictions."""

    def tables(self) -> Iterator[Table]:
        """Yield a table for the screen of each pair of scans."""
        pairs: dict[tuple[str, str, int | None], list[dict[str, Any]]] = {}
        for row in self.rows:
            pairs.setdefault((row["earlier"], row["later"], row["days"]), []).append(row)
        for (earlier, later, days), rows in pairs.items():
            after = "" if days is None else f", {days} days later"
            table = Table(title=escape(f"{earlier} → {later}{after}"), title_justify="left", box=None)
            for heading in ("structure", "mL", "change, mL", "change, %", "", ""):
                table.add_column(heading)
            for row in rows:
                volumes = " → ".join(
                    "–" if math.isnan(v) else size_text(v) for v in (row["earlier_ml"], row["later_ml"])
                )
                table.add_row(
                    escape(row["structure"]),
                    volumes,
                    _told(row, "change{}_ml"),
                    _told(row, "change{}_percent"),
                    row["verdict"],
                    escape(row["notes"]),
                )
            yield table

    def write(self, file: Path) -> None:
        """Write the changes as CSV, whole or not at all, but not over a table that was compared."""
        keep_inputs(file, [folder / "predictions.csv" for folder in self.folders])
        with atomic_write(file) as partial:
            pd.DataFrame(self.rows).to_csv(partial, index=False, float_format="%.6g")


def compare(earlier: Path, later: Path, pairs: Sequence[tuple[str, str]] | None = None) -> FollowUp:
    """
    Compare the volumes of the patients who are in two folders of predictions.

    Args:
        earlier: folder of predictions.
        later: another one; or the same, with ``pairs``.
        pairs: the earlier and the later scan of each pair, by their paths or names. Default: those of one patient.

    Returns:
        a row for each structure of each pair; the reason why others have none.

    Raises:
        ValueError: when a folder holds no finished predictions of volumes, or nothing can be compared.
    """
    if pairs is None and earlier.resolve() == later.resolve():
        raise ValueError(f"{earlier}: found one folder, expected two, or the scans of each patient. Name them: --pairs")
    before = _read_scans(earlier, pairs is None)
    after = before if earlier.resolve() == later.resolve() else _read_scans(later, pairs is None)
    result = FollowUp(folders=(earlier, later))
    networks = {_record(folder).get("network") for folder in (earlier, later)}
    if len(networks) > 1:
        result.notes.append("the masks are of two networks: what differs may be the networks. Predict both by one.")
    if pairs is None:
        found = list(_by_patient(earlier, before, later, after, result))
    else:
        found = [(_named(earlier, before, first), _named(later, after, second)) for first, second in pairs]
    undated = [
        second.image for first, second in found if (first.known or second.known) and _days(first, second) is None
    ]
    if undated:
        result.notes.append(f"no StudyDate in both: the order of the folders is taken as it is: {first_few(undated)}")
    for first, second in found:
        if problem := _problem(first, second):
            result.problems.append(problem)
        else:
            result.rows += _rows(first, second)
    if not result.rows:
        raise ProblemsError(later, result.problems)
    return result


def read_pairs(file: Path) -> list[tuple[str, str]]:
    """
    Read a table, CSV or XLSX, with the columns ``earlier`` and ``later``; blank rows do not count.

    Raises:
        ValueError: when there are no such columns or no pair, or a scan is missing, or a pair stands twice.
    """
    try:
        head, *rows = [[str(cell).strip() for cell in row] for row in read_cells(file).rows]
    except ValueError as e:
        raise ValueError(f"{file}: {e}") from e
    if not {"earlier", "later"} <= set(head):
        raise ValueError(f"{file}: found the columns {', '.join(head)}, expected earlier and later. Add them.")
    columns = head.index("earlier"), head.index("later")
    pairs: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, start=2):
        first, second = (row[column] if column < len(row) else "" for column in columns)
        if not any(row):
            continue
        if not first or not second:
            raise ValueError(f"{file}: row {number}: found '{first}' and '{second}', expected two scans. Correct it.")
        if (first, second) in pairs:
            raise ValueError(
                f"{file}: row {number}: found '{first}' and '{second}' as in row {pairs[first, second]}, expected each "
                "pair once. Delete one."
            )
        pairs[first, second] = number
    if not pairs:
        raise ValueError(f"{file}: found no pair of scans, expected one in each row. Add them.")
    return list(pairs)


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):  # predictions of earlier versions have none
        return {}
    return record


def _read_scans(folder: Path, by_patient: bool) -> dict[str, Scan]:
    """Return the scans of a folder of predictions, by their paths; refuse those of unknown patients if these count."""
    file = folder / "predictions.csv"
    if not file.is_file():
        raise ValueError(
            f"{folder}: found no predictions.csv, expected that of a finished medsize predict. Run it first."
        )
    try:
        table = pd.read_csv(file, keep_default_na=False, na_values=[""], dtype=COLUMNS)
    except ValueError as e:
        raise ValueError(f"{file}: {e}. Expected the table of medsize predict. {AGAIN}") from e
    if "area_px" in table:
        raise ValueError(f"{file}: found areas of pictures, expected volumes of scans. Only these are compared.")
    if missing := [column for column in COLUMNS if column not in table]:
        raise ValueError(
            f"{file}: found no column {', '.join(missing)}, expected the table of medsize predict. {AGAIN}"
        )
    recorded = _record(folder).get("scans") or {}
    scans = {}
    for image, rows in table.groupby("image", sort=False):
        name = Path(rows["mask"].iloc[0]).name.removesuffix("_seg.nii.gz")
        record = recorded.get(name, {})
        known = record.get("patient") or {}
        if by_patient and "source" in record and "patient" not in record:
            raise ValueError(
                f"{folder / RECORD}: found DICOM scans without their patients, as earlier versions of medsize wrote "
                "them, expected these. The same medsize predict adds them, without segmenting again. Or name the "
                "pairs: --pairs"
            )
        named = known.get("id") or bids_subject(image, folder)
        structures = {row["structure"]: row for row in rows.to_dict("records")}
        scans[str(image)] = Scan(str(image), structures, named or without_ending(image), known, is_by_path=not named)
    return scans


def _by_patient(
    earlier: Path, before: Mapping[str, Scan], later: Path, after: Mapping[str, Scan], result: FollowUp
) -> Iterator[tuple[Scan, Scan]]:
    """Yield the two scans of each patient who has one in both folders; note the others."""
    of: list[dict[str, list[Scan]]] = []
    for scans in (before, after):
        by_patient: dict[str, list[Scan]] = {}
        for scan in scans.values():
            by_patient.setdefault(scan.patient, []).append(scan)
        of.append(by_patient)
    common = [patient for patient in of[0] if patient in of[1]]
    if not common:
        raise ValueError(
            f"{later}: found no scan of a patient of {earlier} ({first_few(list(before))}), but of others "
            f"({first_few(list(after))}), by PatientID, else by BIDS or the path. Different patients are not compared. "
            "If the names differ only: --pairs"
        )
    for folder, by_patient in ((earlier, of[0]), (later, of[1])):
        if alone := [scan.image for patient in by_patient if patient not in common for scan in by_patient[patient]]:
            result.notes.append(f"{folder}: left out: no scan of the same patient in the other: {first_few(alone)}")
    if by_path := [scan.image for patient in common for scan in of[1][patient] if scan.is_by_path]:
        result.notes.append(
            f"paired by their paths alone, since the files name no patient: {first_few(by_path)}. "
            "Is each pair one patient?"
        )
    for patient in common:
        several = [
            f"{folder}: found {len(by_patient[patient])} scans of one patient, "
            f"{first_few([scan.image for scan in by_patient[patient]])}, expected one. Name the pairs: --pairs"
            for folder, by_patient in ((earlier, of[0]), (later, of[1]))
            if len(by_patient[patient]) > 1
        ]
        result.problems += several
        if not several:
            yield of[0][patient][0], of[1][patient][0]


def _named(folder: Path, scans: Mapping[str, Scan], name: str) -> Scan:
    """Return the scan of a path or name."""
    ways = (lambda image: image, without_ending, lambda image: PurePosixPath(without_ending(image)).name)
    for way in ways:
        fitting = [scan for image, scan in scans.items() if way(image) == name]
        if len(fitting) == 1:
            return fitting[0]
    raise ValueError(f"{folder}: found no scan '{name}' or several, expected one of {first_few(list(scans))}.")


def _problem(earlier: Scan, later: Scan) -> str:
    """Return the reason why two scans are not compared."""
    both = f"{earlier.image} and {later.image}"
    both_named = ("id" in earlier.known) == ("id" in later.known)  # with the number, the hash is another one
    for key, name in (("id", "PatientID"), *([("born", "PatientBirthDate")] if both_named else [])):
        if len({scan.known[key] for scan in (earlier, later) if key in scan.known}) > 1:
            return f"{both}: found two patients, by their {name}, expected one. Different patients are not compared."
    if earlier is later:
        return f"{both}: found one scan as both dates, expected two. Correct the pair."
    days = _days(earlier, later)
    if days is not None and days < 0:
        return f"{both}: the second is {-days} days before the first by StudyDate. Name the earlier one first."
    return ""


def _days(earlier: Scan, later: Scan) -> int | None:
    try:
        first, second = (
            date(int(text[:4]), int(text[4:6]), int(text[6:8]))
            for text in (earlier.known["study_date"], later.known["study_date"])
        )
    except (KeyError, ValueError):
        return None
    return (second - first).days


def _rows(earlier: Scan, later: Scan) -> Iterator[dict[str, Any]]:
    """Yield a row for each structure of either scan."""
    for structure in dict.fromkeys([*earlier.structures, *later.structures]):
        first, second = (scan.structures.get(structure, {}) for scan in (earlier, later))
        change = size_change(_sized(first), _sized(second))
        reasons = list(_reasons(first, second, change.level))
        both = {"earlier": first, "later": second}
        doubts = [f"look at the {when} scan" for when, row in both.items() if row.get("flag") == "look"]
        verdict = UNKNOWN if reasons else BEYOND if change.is_beyond_noise else WITHIN
        yield {
            "earlier": earlier.image,
            "later": later.image,
            "days": _days(earlier, later),
            "structure": structure,
            "earlier_ml": first.get("volume_ml", math.nan),
            "later_ml": second.get("volume_ml", math.nan),
            "change_ml": change.change,
            "change_low_ml": change.low,
            "change_high_ml": change.high,
            "change_percent": change.percent,
            "change_low_percent": change.low_percent,
            "change_high_percent": change.high_percent,
            "level": change.level,
            "verdict": verdict,
            "notes": "; ".join([*reasons, *doubts]),
        }


def _told(row: Mapping[str, Any], column: str) -> str:
    """Return a change with its interval; ∞ where that has no end."""
    change, low, high = (float(row[column.format(end)]) for end in ("", "_low", "_high"))
    if math.isnan(change):
        return "–"
    if math.isnan(row["level"]):
        return _signed(change)
    return f"{_signed(change)} ({_signed(low)} to {'∞' if math.isnan(high) else _signed(high)})"


def _signed(change: float) -> str:
    return f"{'' if change < 0 else '+'}{size_text(change, 3)}"


def _sized(row: Mapping[str, Any]) -> Sized:
    columns = ("volume_ml", "interval_low_ml", "interval_high_ml", "interval_level")
    return Sized(*(float(row.get(column, math.nan)) for column in columns))


def _reasons(earlier: Mapping[str, Any], later: Mapping[str, Any], level: float) -> Iterator[str]:
    """Yield the reasons why there is no verdict."""
    known = {"earlier": earlier, "later": later}
    missing = [when for when, row in known.items() if not row]
    for when in missing:
        yield f"the network of the {when} scan does not know it"
    if missing:
        return
    without = [when for when, row in known.items() if math.isnan(float(row.get("interval_level", math.nan)))]
    if without:
        yield f"not calibrated: no interval ({' and '.join(without)})"
    elif math.isnan(level):
        yield "the levels of the intervals are too low to tell"
    for when, row in known.items():
        if row["lower_bound"]:
            yield f"cut off by the edge of the {when} scan"
        if row.get("flag") == "reject":
            yield f"the {when} scan is rejected"
