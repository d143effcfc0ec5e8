"""Tables with a column of sentences from reports."""

from __future__ import annotations

from pathlib import Path

from medsize.measurements.formats.report_text import sizes_in
from medsize.measurements.measurement import Measurement, Readings, ReadOptions
from medsize.sizes.table.cells import as_text
from medsize.sizes.table.spreadsheet import TABLE_ENDINGS, read_cells
from medsize.suggest import did_you_mean

__all__ = ["is_report_table", "read_report_table"]

IMAGE = ("image", "scan", "file", "series")
SUBJECT = ("subject", "patientid", "patient", "id", "mrn", "pid")
SERIES = ("seriesinstanceuid", "seriesuid")
"""Names of columns that tell the scan, without spaces and case."""


def is_report_table(file: Path, start: bytes) -> bool:
    """Return whether a file may be a table with sentences, by its ending."""
    return file.suffix.lower() in TABLE_ENDINGS


def read_report_table(file: Path, options: ReadOptions) -> Readings:
    """
    Read the sizes in the sentences of a table, see :mod:`medsize.measurements.formats.report_text`.

    A row tells its scan by a column such as ``image``, ``PatientID`` or ``SeriesInstanceUID``. Numbers that are refused
    are left out with their sentence; those without a unit are a problem.

    Raises:
        ValueError: when it is not a table, or it has no such columns.
    """
    try:
        header, *rows = read_cells(file).rows
    except ValueError as e:
        raise ValueError(f"{file}: {e}") from e
    columns = [str(cell) for cell in header]
    if not options.text_column:
        raise ValueError(
            f"{file}: found a table of an unknown kind, with the columns {', '.join(columns)}. If one holds sentences "
            "of reports, name it: --text COLUMN"
        )
    if options.text_column not in columns:
        below = next((number for number, row in enumerate(rows, start=2) if options.text_column in row), None)
        hint = f" Row {below} has it: delete the rows above." if below else did_you_mean(options.text_column, columns)
        raise ValueError(f"{file}: found no column '{options.text_column}', but {', '.join(columns)}.{hint}")
    plain = ["".join(name.casefold().replace("_", " ").split()) for name in columns]
    known = {"image": IMAGE, "subject": SUBJECT, "series": SERIES}
    at = {kind: [i for i, name in enumerate(plain) if name in names] for kind, names in known.items()}
    if not any(at.values()):
        raise ValueError(
            f"{file}: found no column that tells the scan, expected 'image', 'PatientID' or 'SeriesInstanceUID' beside "
            f"'{options.text_column}'. Add one."
        )
    told_by = sorted({columns.index(options.text_column), *(i for found in at.values() for i in found)})
    readings = Readings()
    for number, row in enumerate(rows, start=2):
        cells = ["" if isinstance(cell, ValueError) else as_text(cell) for cell in row]
        if all(cell == "" for cell in row):
            continue
        if len(cells) != len(columns):
            readings.problems.append(
                f"{file}, row {number}: found {len(cells)} cells, expected {len(columns)}. Put texts into quotes."
            )
            continue
        faulty = [(columns[i], cell) for i in told_by if isinstance(cell := row[i], ValueError)]
        if faulty:
            readings.problems += [f"{file}, row {number}, column '{name}' {cell}" for name, cell in faulty]
            continue
        told = {kind: next((cells[i] for i in found if cells[i]), "") for kind, found in at.items()}
        accepted, refused = sizes_in(cells[columns.index(options.text_column)], options.names, options.unit)
        for size in accepted:
            readings.measurements.append(
                Measurement(
                    file,
                    f"row {number}",
                    size.structure,
                    size.volume_mm3,
                    size.diameters_mm,
                    lesion=size.location,
                    series=(told["series"],) if told["series"] else (),
                    subject=told["subject"],
                    image=told["image"],
                    text=size.sentence,
                )
            )
        for refusal in refused:
            line = f"{file}, row {number}, '{refusal.sentence}': {refusal.reason}"
            (readings.problems if refusal.asks else readings.left_out).append(line)
    return readings
