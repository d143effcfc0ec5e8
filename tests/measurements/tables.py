"""The command ``medsize measurements`` and the size table that it writes."""

from __future__ import annotations

import csv
from pathlib import Path

from typer.testing import CliRunner, Result

from medsize.cli import app
from medsize.sizes.size_table import read_size_table


def measurements(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "400"}).invoke(app, ["measurements", *map(str, arguments)])


def table(folder: Path, *options: object) -> list[dict[str, str]]:
    """Rows of the size table that is written of a folder; it can be read."""
    result = measurements(folder, "--output", folder / "sizes.csv", *options)
    assert result.exit_code == 0, result.output
    return rows_of(folder / "sizes.csv")


def rows_of(file: Path) -> list[dict[str, str]]:
    read_size_table(file)
    return list(csv.DictReader(file.open()))


def problems(folder: Path, *options: object) -> str:
    """What is said of measurements that are not all used."""
    result = measurements(folder, "--output", folder / "sizes.csv", *options)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.output
