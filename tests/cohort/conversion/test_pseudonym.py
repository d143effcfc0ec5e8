"""Codes of subjects are the same for the same key, and tell nothing without it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from medsize.cohort.conversion.pseudonym import pseudonym, subject_key


def test_codes_depend_on_the_identifier_and_the_key(tmp_path: Path) -> None:
    key, other = subject_key(tmp_path / "keys" / "one.txt"), subject_key(tmp_path / "keys" / "other.txt")
    assert pseudonym("4711", key) == pseudonym("4711", subject_key(tmp_path / "keys" / "one.txt"))
    assert len({pseudonym("4711", key), pseudonym("4712", key), pseudonym("4711", other)}) == 3


def test_only_the_owner_may_read_a_new_key(tmp_path: Path) -> None:
    subject_key(tmp_path / "key.txt")
    assert stat.S_IMODE((tmp_path / "key.txt").stat().st_mode) == 0o600


def test_a_key_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("secret\n")
    with pytest.raises(ValueError, match=r"key.txt: the key has 6 bytes, expected at least 16"):
        subject_key(tmp_path / "key.txt")
