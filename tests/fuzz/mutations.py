"""Random mutations of a cohort's files: what transfers, exports, anonymisers and people do to them."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import warnings
from collections.abc import Callable
from pathlib import PurePosixPath
from random import Random

import nibabel
import openpyxl
import pydicom
from pydicom.dataset import Dataset

from tests.fuzz.inputs import Files

Mutation = Callable[[Files, Random], str | None]
"""Changes the files in place; returns what it did, naming the file first, or ``None`` if it does not fit."""

NUMBERS = ("0", "-1", "nan", "1e30", "inf", "", "0.000001", "1000", "abc", "1,5", "4.0000001")
WORDS = ("", " ", "x" * 300, "Müller", "../../etc", "None", "a\\b", "0", "\N{SNOWMAN}", "seg", "liver")


def _pick(files: Files, rng: Random, *endings: str) -> str | None:
    names = sorted(name for name in files if name.endswith(endings or ""))
    return rng.choice(names) if names else None


# Any file.


def truncate(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng)
    if name is None or not files[name]:
        return None
    files[name] = files[name][: rng.choice([0, rng.randrange(len(files[name])), len(files[name]) - 1])]
    return f"{name}: truncated to {len(files[name])} bytes"


def flip(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng)
    if name is None or not files[name]:
        return None
    content = bytearray(files[name])
    end = len(content) if rng.random() < 0.3 else min(len(content), 600)  # headers stand first
    places = [rng.randrange(end) for _ in range(rng.choice([1, 1, 2, 8]))]
    for place in places:
        content[place] = rng.choice([0, 255, rng.randrange(256)])
    files[name] = bytes(content)
    return f"{name}: bytes {places} changed"


def append(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng)
    if name is None:
        return None
    files[name] += rng.choice([b"\0" * 7, b"\n", b"garbage", files[name][:50]])
    return f"{name}: bytes appended"


def swap(files: Files, rng: Random) -> str | None:
    one, other = _pick(files, rng), _pick(files, rng)
    if one is None or other is None or one == other:
        return None
    files[one], files[other] = files[other], files[one]
    return f"{one}: exchanged with {other}"


def rename(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng)
    if name is None:
        return None
    path = PurePosixPath(name)
    new = rng.choice(
        [
            path.with_name(path.name.upper()),
            path.with_name(f".{path.name}"),
            path.with_name(f"{path.name}.bak"),
            path.with_name(path.name.split(".")[0]),
            path.with_name(f"Kopie von {path.name}"),
            path.with_name(f"\udce9{path.name}"),  # a byte of Latin-1
            path.with_name(f"{path.name.split('.')[0]} (1).{path.name.split('.', 1)[-1]}"),
            PurePosixPath("in") / path.name,
            PurePosixPath("in") / "mask" / path.name,
        ]
    )
    if str(new) in files or not str(new).startswith("in/") or not name.startswith("in/"):
        return None
    files[str(new)] = files.pop(name)
    return f"{new}: renamed from {name}"


def delete(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng)
    if name is None or not name.startswith("in/"):
        return None
    del files[name]
    return f"{name}: deleted"


def duplicate(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng)
    if name is None or not name.startswith("in/"):
        return None
    path = PurePosixPath(name)
    new = rng.choice([path.with_name(f"copy_{path.name}"), PurePosixPath("in/backup") / path.name])
    files[str(new)] = files[name]
    return f"{new}: a copy of {name}"


def compress(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng)
    if name is None or not name.startswith("in/"):
        return None
    if name.endswith(".gz"):
        files[name] = gzip.decompress(files[name]) if files[name][:2] == b"\x1f\x8b" else gzip.compress(files[name])
        return f"{name}: no longer compressed"
    files[f"{name}.gz"] = gzip.compress(files.pop(name))
    return f"{name}.gz: compressed"


def stray(files: Files, rng: Random) -> str | None:
    folder = rng.choice(["in", "in/p0", "in/p1"])
    name, content = rng.choice(
        [
            ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
            (".DS_Store", b"\0\0\0\1Bud1"),
            ("readme.txt", b"hello"),
            ("dataset.json", b'{"labels": {"0": "background", "1": "liver"}}'),
            ("dataset.json", b'{"labels": ['),
            ("ct.json", b"{}"),
            ("DICOMDIR", b""),
            ("notes.xlsx", b"PK\3\4"),
            ("._ct.nii", b"\0\5\x16\7"),
            ("other.nii", b"\0" * 348),
        ]
    )
    files[f"{folder}/{name}"] = content
    return f"{folder}/{name}: added"


# NIfTI: fields of the header, by their place in it.

FIELDS: dict[str, tuple[int, str]] = {
    "sizeof_hdr": (0, "i"),
    "dim[0]": (40, "h"),
    "dim[1]": (42, "h"),
    "dim[3]": (46, "h"),
    "dim[4]": (48, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim[0]": (76, "f"),
    "pixdim[1]": (80, "f"),
    "pixdim[3]": (88, "f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern_b": (256, "f"),
    "qoffset_x": (268, "f"),
    "srow_x[0]": (280, "f"),
    "srow_x[1]": (284, "f"),
    "srow_z[3]": (324, "f"),
    "magic": (344, "i"),
}
WHOLE, REAL = (0, 1, 2, 3, 4, 8, 255, -1, 512, 16384), (0.0, -1.0, 2.0, float("nan"), float("inf"), 1e30, 0.25, 1000.0)


def nifti_field(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng, ".nii", ".nii.gz")
    if name is None:
        return None
    packed = files[name][:2] == b"\x1f\x8b"
    try:
        content = bytearray(gzip.decompress(files[name]) if packed else files[name])
    except (OSError, EOFError):
        return None
    if len(content) < 352:
        return None
    field, (place, kind) = rng.choice(sorted(FIELDS.items()))
    value = rng.choice(REAL) if kind == "f" else rng.choice(WHOLE) % 256 if kind == "B" else rng.choice(WHOLE)
    struct.pack_into(f"<{kind}", content, place, value)
    files[name] = gzip.compress(bytes(content)) if packed else bytes(content)
    return f"{name}: {field} is {value}"


def nifti_turned(files: Files, rng: Random) -> str | None:
    """Store the axes in another order or direction, or the bytes: the same scan."""
    name = _pick(files, rng, ".nii")
    if name is None:
        return None
    try:
        image = nibabel.Nifti1Image.from_bytes(files[name])
        if rng.random() < 0.3:
            swapped = nibabel.Nifti1Image(image.get_fdata(), image.affine, image.header.as_byteswapped())
            files[name] = swapped.to_bytes()
            return f"{name}: bytes of numbers in the other order"
        axes = nibabel.orientations.axcodes2ornt(rng.choice(["LPS", "PIR", "ASL", "LAS"]))
        files[name] = image.as_reoriented(axes).to_bytes()
    except Exception:  # noqa: BLE001  # an earlier mutation broke it
        return None
    return f"{name}: axes in another order"


# NRRD and MetaImage: lines of the header.


def header_line(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng, ".nrrd", ".mha")
    if name is None:
        return None
    end = files[name].find(b"\n\n") if name.endswith(".nrrd") else files[name].find(b"LOCAL\n") + 5
    head, rest = files[name][:end], files[name][end:]
    lines = head.decode("latin-1").split("\n")
    index = rng.randrange(len(lines))
    line = lines[index]
    key, mark, value = line.partition("=" if "=" in line else ":")
    what = rng.choice(["removed", "blank", "number", "word", "twice", "swapped", "case", "crlf"])
    if what == "removed":
        del lines[index]
    elif what == "blank":
        lines[index] = f"{key}{mark}"
    elif what == "number":
        lines[index] = f"{key}{mark} {' '.join(rng.choice(NUMBERS) for _ in range(rng.choice([1, 3])))}"
    elif what == "word":
        lines[index] = f"{key}{mark} {rng.choice(WORDS)}"
    elif what == "twice":
        lines.insert(index, line)
    elif what == "swapped":
        other = rng.randrange(len(lines))
        lines[index], lines[other] = lines[other], line
    elif what == "case":
        lines[index] = f"{key.upper()}{mark}{value}"
    text = ("\r\n" if what == "crlf" else "\n").join(lines)
    files[name] = text.encode("latin-1", errors="replace") + rest
    return f"{name}: the line '{line[:40]}' {what}"


# DICOM: elements at any depth, in one file or in all of a folder.

TAGS = (
    *("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "Rows", "Columns"),
    *("RescaleSlope", "RescaleIntercept", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PatientID", "Modality", "SOPClassUID", "SeriesInstanceUID"),
    *("StudyInstanceUID", "FrameOfReferenceUID", "InstanceNumber", "SpecificCharacterSet", "ImageType"),
    *("NumberOfFrames", "SpacingBetweenSlices", "BurnedInAnnotation", "SeriesDescription", "PixelData"),
)
VALUES: tuple[object, ...] = (
    *("", None, 0, 1, -1, 2, 16, 65535, 0.5, "nan", "1e400", [1], [0, 0, 0], [1, 0, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0]),
    *([4, 4], [0, 0], [4, 5], [-4, 4], "MONOCHROME1", "RGB", "ISO_IR 100", "ISO_IR 192", "XX", "1.2.3", "PAT-0", " 7 "),
    *("DERIVED\\SECONDARY\\LOCALIZER", "YES", "x" * 300, b"\xff\xfe"),
)


def dicom_element(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng, ".dcm")
    if name is None:
        return None
    try:
        dataset = pydicom.dcmread(io.BytesIO(files[name]))
        places = _places(dataset)
        keyword = rng.choice(TAGS) if rng.random() < 0.5 else rng.choice(places)[1]
        value = rng.choice(("removed", *VALUES))
    except Exception:  # noqa: BLE001  # an earlier mutation broke it
        return None
    folder = str(PurePosixPath(name).parent)
    chosen = [name] if rng.random() < 0.5 else [n for n in sorted(files) if str(PurePosixPath(n).parent) == folder]
    at = rng.random()
    changed = [n for n in chosen if _set(files, n, str(keyword), value, at)]
    return f"{changed[0]}: {keyword} is {value!r} in {len(changed)} files" if changed else None


def _places(dataset: Dataset) -> list[tuple[Dataset, str]]:
    """Return all elements that have a keyword, with the data set that holds them, at any depth."""
    found = []
    for element in dataset:
        if element.keyword:
            found.append((dataset, element.keyword))
        if element.VR == "SQ":
            for item in element.value:
                found += _places(item)
    return found


def _set(files: Files, name: str, keyword: str, value: object, at: float) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(files[name]))
            holders = [holder for holder, key in _places(dataset) if key == keyword] or [dataset]
            holder = holders[int(at * len(holders))]
            if value == "removed":
                delattr(holder, keyword)
            else:
                setattr(holder, keyword, value)
            buffer = io.BytesIO()
            dataset.save_as(buffer)
            files[name] = buffer.getvalue()
    except Exception:  # noqa: BLE001  # pydicom does not write every value
        return False
    return True


# Tables.


def text_table(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng, ".csv", ".tsv")
    if name is None or name.startswith("in/"):
        return None
    mark = "\t" if name.endswith(".tsv") else ","
    rows = [line.split(mark) for line in files[name].decode("latin-1").splitlines()]
    if not rows or not all(rows):
        return None
    row, other = rng.choice(rows), rng.choice(rows)
    column = rng.randrange(len(row))
    what = rng.choice(["number", "word", "swapped", "row twice", "row left out", "column left out", "mark", "encoding"])
    encoding = "utf-8"
    if what == "number":
        row[column] = rng.choice((*NUMBERS, "1510", "1.510", "1 510", "12 %", "3.4 mL", "1/2", "2024-01-05", ">5"))
    elif what == "word":
        row[column] = rng.choice((*WORDS, "image", "liver volume_ml", "liver diameters_mm", "liver fraction", "slice"))
    elif what == "swapped" and column < len(other):
        row[column], other[column] = other[column], row[column]
    elif what == "row twice":
        rows.append(list(row))
    elif what == "row left out":
        rows.remove(row)
    elif what == "column left out":
        rows = [r[:column] + r[column + 1 :] for r in rows]
    elif what == "mark":
        mark = rng.choice([";", "|", " ", ",,"])
    else:
        encoding = rng.choice(["utf-16", "utf-8-sig", "utf-16-le", "latin-1", "utf-32"])
    text = rng.choice(["\n", "\n", "\r\n", "\r"]).join(mark.join(r) for r in rows)
    files[name] = text.encode(encoding, errors="replace")
    return f"{name}: {what}, {encoding}"


def xlsx_cell(files: Files, rng: Random) -> str | None:
    name = _pick(files, rng, ".xlsx")
    if name is None or name.startswith("in/"):
        return None
    try:
        book = openpyxl.load_workbook(io.BytesIO(files[name]))
        sheet = book.active
        cell = sheet.cell(rng.randint(1, 3), rng.randint(1, 4))
        value = rng.choice((*NUMBERS, *WORDS, 7, 1.5, -3, True, "=1+1", "=A1", None, 1e300, "liver volume_ml"))
        what = rng.choice(["value", "value", "value", "format", "hidden", "sheet", "row", "title"])
        if what == "value":
            cell.value = value
        elif what == "format":
            cell.number_format = rng.choice(['0.00" L"', "0%", "yyyy-mm-dd", "@", "#,##0", "0.00E+00", "General;@"])
        elif what == "hidden":
            sheet.row_dimensions[cell.row].hidden = True
        elif what == "sheet":
            book.create_sheet(rng.choice(["notes", "Tabelle2", "sizes (2)"]), rng.choice([0, 1])).append(["x", value])
        elif what == "row":
            sheet.append([value, value, value])
        else:
            sheet.insert_rows(1)
        buffer = io.BytesIO()
        book.save(buffer)
    except Exception:  # noqa: BLE001  # openpyxl does not write every value
        return None
    files[name] = buffer.getvalue()
    return f"{name}: {what} of {cell.coordinate}, {value!r:.40}"


ANY: tuple[Mutation, ...] = (truncate, flip, flip, append, swap, rename, delete, duplicate, compress, stray)
OF_KIND: dict[str, tuple[Mutation, ...]] = {
    "nifti": (nifti_field, nifti_field, nifti_turned),
    "nifti_gz": (nifti_field,),
    "nrrd": (header_line,),
    "mha": (header_line,),
    "dicom": (dicom_element,),
    "seg": (dicom_element,),
    "rtstruct": (dicom_element,),
    "csv": (text_table,),
    "tsv": (text_table,),
    "xlsx": (xlsx_cell,),
}


def mutate(files: Files, kind: str, rng: Random) -> list[str]:
    """Apply one to three mutations in place, and return what was done."""
    wanted, done = rng.choice([1, 1, 2, 3]), []
    while len(done) < wanted:
        mutation = rng.choice(OF_KIND[kind] if rng.random() < 0.65 else ANY)
        with contextlib.suppress(Exception):  # an earlier mutation broke the file
            if said := mutation(files, rng):
                done.append(said)
    return done
