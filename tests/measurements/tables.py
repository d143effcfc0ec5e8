"""The command ``medsize measurements`` and the size table that it writes."""

from __future__ import annotations

import csv
from pathlib import Path

from typer.testing import CliRunner, Result

from medsize.cli import app
from medsize.sizes.table.read import read_size_table


def measurements(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(app, ["measurements", *map(str, arguments)])


def table(files: Path, *options: object) -> list[dict[str, str]]:
    """Rows of the size table that is written of a folder or a file; it can be read."""
    output = files.parent / "sizes.csv"
    result = measurements(files, "--output", output, *options)
    assert result.exit_code == 0, result.output
    return rows_of(output)


def rows_of(file: Path) -> list[dict[str, str]]:
    read_size_table(file)
    return list(csv.DictReader(file.open()))


def problems(files: Path, *options: object) -> str:
    """What is said of measurements that are not all used."""
    result = measurements(files, "--output", files.parent / "sizes.csv", *options)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.output
