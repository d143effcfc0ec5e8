"""Checks that were not made are named, with the reason."""

from __future__ import annotations

from medsize.inference.report.flags import told_unchecked
from medsize.metrics.reliability import Reliability

FULL = Reliability("ok", (), ())
SOME = Reliability("ok", (), ("liver: the size", "the spread of intensities"))
NONE = Reliability("unchecked", (), ("liver: the size", "liver: the confidence"))


def test_nothing_is_said_where_all_was_checked() -> None:
    assert told_unchecked([FULL], 9) == ""


def test_a_run_that_was_validated_on_few_scans_checks_none_and_says_so_briefly() -> None:
    expected = "no scan could be checked: the run was validated on 3 scans, and a check needs 5."
    assert told_unchecked(iter([NONE, NONE]), 3) == expected
    assert told_unchecked([NONE], 0, "picture") == "no picture could be checked: the run has recorded no such values."


def test_each_check_that_lacks_its_values_is_named() -> None:
    line = told_unchecked([FULL, SOME], 9)
    assert line.startswith(
        "could not be checked: liver: the size; the spread of intensities. A check needs the value of"
    )
