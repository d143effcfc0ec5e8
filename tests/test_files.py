"""A file is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medsize.files import OutputError, atomic_write, bare_name, is_newer


def write_half(file: Path, many_writers: bool) -> None:
    with atomic_write(file, many_writers) as partial:
        partial.write_text("ha")
        raise OSError("disk full")


@pytest.mark.parametrize("many_writers", [False, True])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_beside(tmp_path: Path, many_writers: bool) -> None:
    file = tmp_path / "new" / "table.csv"
    with atomic_write(file, many_writers) as partial:
        partial.write_text("whole")
        assert not file.exists()
    with pytest.raises(OSError, match="disk full"):
        write_half(file, many_writers)
    assert [(found.name, found.read_text()) for found in file.parent.iterdir()] == [("table.csv", "whole")]


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"table.csv: it cannot be written: disk full. Is the disk full"):
        write_half(tmp_path / "table.csv", False)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"file/table.csv: it cannot be written: File exists"):
        write_half(tmp_path / "file" / "table.csv", False)
    assert (tmp_path / "file").read_text() == "mine"


def test_many_writers_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "entry.json"
    with atomic_write(file, many_writers=True) as one, atomic_write(file, many_writers=True) as other:
        one.write_text("one")
        other.write_text("other")
    assert file.read_text() == "one"


def test_a_file_is_newer_until_its_source_changes(tmp_path: Path) -> None:
    file, source = tmp_path / "clicks.nii", tmp_path / "mask.nii"
    source.touch()
    assert not is_newer(file, source)
    file.touch()
    os.utime(source, ns=(0, file.stat().st_mtime_ns))
    assert is_newer(file, source)
    os.utime(source, ns=(0, file.stat().st_mtime_ns + 1))
    assert not is_newer(file, source)


@pytest.mark.parametrize(
    ("image", "name"),
    [("images/a.b.nii.gz", "a.b"), (Path("a.nii"), "a"), ("a.01.png", "a.01.png"), ("scan.1", "scan.1")],
)
def test_a_bare_name_keeps_the_dots_of_a_name(image: str | Path, name: str) -> None:
    assert bare_name(image) == name
