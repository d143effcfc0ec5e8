"""Durations are read, guessed, measured, and kept within a time limit."""

from __future__ import annotations

import re

import pytest

from medsize.fit.duration import START_SECONDS, Machine, Pace, as_text, guess_seconds, parse_time, shortened
from medsize.fit.plan import Stage


def training(folder: str, epochs: int = 100, all_epochs: int = 100) -> Stage:
    """A training of one second an epoch, by the guess."""
    about = {"kind": "training", "title": folder, "reason": "", "folder": folder}
    return Stage(**about, epochs=epochs, all_epochs=all_epochs, seconds=float(epochs))


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("1.5h", 5400), ("45s", 45), ("20 min", 1200)]
)
def test_a_time_limit_is_read(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "soon", "0h", "1.2.3h", "-2h"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"the time limit is '{text}', expected such as 2h")):
        parse_time(text)


def test_durations_are_told_in_words() -> None:
    assert [as_text(s) for s in (0.2, 59, 119, 150)] == ["1 s", "59 s", "119 s", "2 min"]
    assert [as_text(s) for s in (3600, 9000)] == ["1 h 0 min", "2 h 30 min"]


def test_teachers_are_left_out_only_where_half_the_epochs_do_not_fit() -> None:
    def seconds(teachers: int) -> float:
        return 100.0 * (teachers + 1)

    assert shortened(seconds, teachers=2, least=1, limit=1000) == (2, 1.0)
    assert shortened(seconds, teachers=2, least=1, limit=150) == (2, 0.5)
    assert shortened(seconds, teachers=2, least=1, limit=140) == (1, 0.7)
    assert shortened(seconds, teachers=2, least=1, limit=20) == (1, 0.1)


def test_more_cores_are_faster_and_a_gpu_is_faster_still() -> None:
    one, four = Machine(memory_bytes=1, cores=1), Machine(memory_bytes=1, cores=4)
    machines = (one, four, four.model_copy(update={"has_gpu": True}))
    slow, faster, fastest = (guess_seconds("unet", 1e6, machine) for machine in machines)
    assert slow > faster > fastest > 0


def test_the_measured_pace_corrects_the_guess_for_what_lies_ahead() -> None:
    first, second = training("a"), training("b")
    pace = Pace([first, second])
    before = pace.seconds_left(first, 100)
    pace.measure(first, [9.0, 2.0, 2.0])  # the first epoch is longer than the others
    assert pace.seconds_left(first, 50) - 50 * 2 == pytest.approx(before - 100 + 100)
    pace.finish(first)
    assert pace.seconds_left(second, 10) == pytest.approx(20)


def test_a_slow_training_gets_fewer_epochs_and_a_fast_one_all() -> None:
    stage = training("a", epochs=50)
    slow = Pace([stage], limit=100)
    slow.measure(stage, [4.0, 4.0])
    assert slow.epochs(stage, now=50, done=1, used=4) == 50, "one epoch says too little"
    assert slow.epochs(stage, now=50, done=2, used=8) == 23, "25, less the start of another process"
    fast = Pace([stage], limit=1000)
    fast.measure(stage, [1.0, 1.0])
    assert fast.epochs(stage, now=50, done=2, used=2) == 100
    late = Pace([stage], limit=5)
    late.measure(stage, [4.0, 4.0])
    assert late.epochs(stage, now=50, done=2, used=8) == 10, "some epochs are left to each training"
    assert Pace([stage]).epochs(stage, now=50, done=2, used=8) == 50, "there is no limit"


def test_a_limit_that_the_least_epochs_exceed_is_told_of_once() -> None:
    first, second = training("a", epochs=50), training("b", epochs=50)
    pace = Pace([first, second], limit=100)
    pace.measure(first, [4.0, 4.0])
    assert pace.too_long(first, done=1, used=4) is None, "one epoch says too little"
    assert pace.too_long(first, done=2, used=8) is None
    assert pace.too_long(first, done=2, used=50) == 50 + 8 * 4 + 10 * 4 + START_SECONDS
    assert pace.too_long(first, done=3, used=54) is None, "it was told"


def test_the_number_of_epochs_changes_only_where_it_matters_and_not_for_ever() -> None:
    stage = training("a", epochs=50)
    pace = Pace([stage], limit=100)
    pace.measure(stage, [2.0, 2.1])
    assert pace.epochs(stage, now=50, done=2, used=4) == 50
    for _ in range(5):
        pace.measure(stage, [4.0, 4.0])
        changed = pace.epochs(stage, now=50, done=2, used=8)
    assert changed == 50
