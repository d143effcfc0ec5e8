"""The log of a stage is read for what the screen shows of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsize.fit.stages import last_error, warnings_in, with_epochs

CHAIN = """2026-01-01 - INFO - epoch 3
Traceback (most recent call last):
  File "transform.py", line 141, in apply_transform
    return _apply_transform(transform, data)
OSError: [Errno 28] No space left on device: '/runs/model.pt'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "run.py", line 1, in <module>
    run()
RuntimeError: Failed to evaluate '$@train#trainer.run()'
"""
REFUSED = """medsize found what would spoil this run, and has not started it.
datalist.json: 1 problem
  - training[0]: there is no file.
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CHAIN, ([], "OSError: [Errno 28] No space left on device: '/runs/model.pt'")),
        (
            f"{CHAIN}once more\nTraceback (most recent call last):\nValueError: of the last attempt.\n",
            ([], "ValueError: of the last attempt"),
        ),
        (
            "Traceback (most recent call last):\ntorch.OutOfMemoryError: CUDA\nTried 2 GiB\n",
            ([], "torch.OutOfMemoryError: CUDA"),
        ),
        ("torchrun: no such program\n\n", ([], "torchrun: no such program")),
        ("", ([], "")),
        (
            f"ValueError: of an earlier attempt\n{REFUSED}",
            (["datalist.json: 1 problem", "  - training[0]: there is no file."], "what is listed above would spoil it"),
        ),
    ],
)
def test_the_cause_of_a_failure_is_found_in_its_log(tmp_path: Path, text: str, expected: tuple[list[str], str]) -> None:
    (tmp_path / "log.txt").write_text(text)
    assert last_error(tmp_path / "log.txt") == expected


def test_warnings_about_the_cohort_are_found_in_the_log_of_its_check(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(
        "UserWarning: of MONAI\nmedsize found what does not stop a run, but may not be meant.\n"
        "bundle/configs/metadata.json: 1 warning\n  - warning: it names other classes\n"
        "datalist.json: 1 warning\n  - warning: an outlier\nNothing was found that would stop this run.\n"
        "medsize found what does not stop a run, but may not be meant.\n"
        "first labels: 2 warnings\n  - warning: liver\n  - warning: kidney\n"
    )
    assert warnings_in(tmp_path / "log.txt", "first labels") == ["liver", "kidney"]
    assert warnings_in(tmp_path / "log.txt", "datalist") == ["an outlier"]
    assert "it names other classes" not in warnings_in(tmp_path / "log.txt")
    assert warnings_in(tmp_path / "none.txt") == []


def test_the_number_of_epochs_is_replaced_or_added() -> None:
    assert with_epochs(["run", "--max_epochs", "50", "--seed", "1"], 20) == ["run", "--max_epochs", "20", "--seed", "1"]
    assert with_epochs(["run"], 20) == ["run", "--max_epochs", "20"]
