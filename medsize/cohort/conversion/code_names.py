"""Table of the codes in a cohort's report, and the names that they stand for; the hash of the size table is one."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from medsize.cohort.conversion.pseudonym import pseudonym
from medsize.cohort.conversion.scans import Converted, write_table
from medsize.sizes.table.size_table import SizeTable

__all__ = ["code_names_file", "edited_table", "named_codes", "table_hash", "write_code_names"]

CODE = re.compile(r"\b[0-9a-f]{8}\b")
HASH = re.compile("[0-9a-f]{64}")


def code_names_file(output_dir: Path) -> Path:
    """Return the path of the table, beside the folder of the cohort."""
    return output_dir.with_name(f"{output_dir.name}_names.csv")


def table_hash(file: Path) -> str:
    """Return the hash of a size table, by which :func:`edited_table` knows it again."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def edited_table(output_dir: Path) -> Path | None:
    """
    Return the size table of a cohort if it was edited since the cohort was prepared.

    Args:
        output_dir: folder of the cohort.
    """
    if (names := code_names_file(output_dir)).is_file():
        with names.open(newline="", encoding="utf-8") as opened:
            for row in csv.DictReader(opened):
                file = Path(row["name"])
                if HASH.fullmatch(row["code"]) and file.is_file() and table_hash(file) != row["code"]:
                    return file
    return None


def write_code_names(
    output_dir: Path,
    sources: Mapping[str, str],
    codes: Mapping[str, str],
    lines: Iterable[str],
    tables: Mapping[str, Path],
) -> None:
    """
    Write the table, which only its owner may read: all scans, the other codes in the report's lines, the size table.

    Args:
        output_dir: folder of the cohort.
        sources: names of the scans, by their images.
        codes: codes of other names, as messages show them.
        lines: messages of the report.
        tables: the size table, by its hash, if there is one.
    """
    names = {Path(image).name.split(".")[0]: name for image, name in sources.items()}
    told = {code for line in lines for code in CODE.findall(line)}
    for name, shown in codes.items():
        if (found := CODE.search(shown)) and found[0] in told and not shown.startswith("images/"):
            names[found[0]] = name.strip("'")
    names |= {code: str(file.resolve()) for code, file in tables.items()}
    rows = [{"code": code, "name": name} for code, name in names.items()]
    write_table(code_names_file(output_dir), ("code", "name"), rows, private=True)


def named_codes(converted: Converted, table: SizeTable | None, key: bytes) -> dict[str, str]:
    """Return codes for the names of subjects and scans in quotation marks, since a table may name patients."""
    names = set(converted.identifiers.values())
    for row in table.rows if table is not None else ():
        names |= {row.image, row.subject or row.image}
    return {f"'{name}'": f"'{pseudonym(name, key, 8)}'" for name in names}
