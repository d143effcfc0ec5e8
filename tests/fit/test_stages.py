"""Stages run within their time, and what the screen shows of them is read from their logs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medsize.fit import duration
from medsize.fit.plan import Plan, Stage
from medsize.fit.stages import StageFailed, last_error, run_stages, stage_seconds, unfound_in, warnings_in, with_epochs

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
BOX = """Usage: medsize locate [OPTIONS]
╭─ Error ──────────────────╮
│ Invalid value:           │
│ /runs/of_the_whole_scan/ │
│ coarse: it has found no  │
│ structure in any scan.   │
╰──────────────────────────╯

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
        (BOX, ([], "/runs/of_the_whole_scan/coarse: it has found no structure in any scan")),
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


def test_structures_that_no_scan_shows_are_told_of_when_a_training_ends(tmp_path: Path) -> None:
    rows = ["structure,volume_ml,true_high_ml", "head,0,1.5", "head,0.0,2", "liver,0,1", "liver,3,1", "cyst,0,0"]
    (tmp_path / "metrics.csv").write_text("\n".join([*rows, "bone,0,"]))
    assert unfound_in(tmp_path) == ["head"]
    assert unfound_in(tmp_path / "elsewhere") == []


def test_the_number_of_epochs_is_replaced_or_added() -> None:
    assert with_epochs(["run", "--max_epochs", "50", "--seed", "1"], 20) == ["run", "--max_epochs", "20", "--seed", "1"]
    assert with_epochs(["run"], 20) == ["run", "--max_epochs", "20"]


STUB = """
import sys, time
from pathlib import Path
run, epochs, resume = Path(sys.argv[1]), int(sys.argv[3]), sys.argv[5]
table = run / "epochs.csv"
rows = table.read_text().splitlines()[1:] if resume == "True" else []
print("resume", resume)
while len(rows) < epochs:
    time.sleep(0.06)
    rows.append("0.06")
    (run / "partial.csv").write_text("\\n".join(["seconds", *rows]) + "\\n")
    (run / "partial.csv").rename(table)
    (run / "checkpoint.pt").touch()
(run / "summary.json").touch()
"""
"""Training of 0.06 s an epoch."""


def stub(folder: Path) -> Plan:
    (folder / "stub.py").write_text(STUB)
    command = (sys.executable, str(folder / "stub.py"), str(folder / "run"), "--max_epochs", "60")
    training = Stage(
        kind="training",
        title="stub",
        reason="",
        folder="run",
        result="summary.json",
        command=command,
        epochs=60,
        all_epochs=60,
        seconds=1.0,
    )
    return Plan(bundle=folder, network="unet", decisions=(), stages=(training,))


def test_a_training_that_is_slower_than_guessed_is_shortened_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duration, "START_SECONDS", 0.0)
    told: list[str] = []
    run_stages(stub(tmp_path), tmp_path, {}, time_limit=2.0, report=told.append)
    run = tmp_path / "run"
    assert 10 <= len(stage_seconds(run)) < 50
    assert len(stage_seconds(run)) == int((run / "length.json").read_text())
    assert (run / "log.txt").read_text().split("\n")[:2] == ["resume False", "resume True"]
    assert told[-2].startswith("1/1 stub: done in ")
    epochs = f"  {len(stage_seconds(run))} of 60 epochs"
    assert told[-1] == f"{epochs}, as the time limit of 2 s asks"
    run_stages(stub(tmp_path), tmp_path, {}, time_limit=20.0, report=told.append)
    assert told[-2:] == ["1/1 stub: kept", f"{epochs}, as its time limit asked"]


def test_a_failed_training_is_told_of_in_one_line_with_its_log(tmp_path: Path) -> None:
    plan = stub(tmp_path)
    script = tmp_path / "stub.py"
    script.write_text('raise FileNotFoundError("no such scan")\n')
    with pytest.raises(StageFailed) as failed:
        run_stages(plan, tmp_path, {}, report=lambda _: None)
    log = tmp_path / "run" / "log.txt"
    expected = f"stub failed: FileNotFoundError: no such scan. Log: {log}. The same command goes on from here."
    assert str(failed.value) == expected
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(StageFailed, match="stub failed: it was killed by signal 9, as happens where memory is short"):
        run_stages(plan, tmp_path, {}, report=lambda _: None)
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    with pytest.raises(StageFailed, match=r"stub failed: it was killed by signal 15\. Log"):
        run_stages(plan, tmp_path, {}, report=lambda _: None)


def test_an_earlier_refusal_is_not_the_cause_of_the_next_failure(tmp_path: Path) -> None:
    plan, script = stub(tmp_path), tmp_path / "stub.py"
    script.write_text(f"print({REFUSED!r})\nraise SystemExit(1)\n")
    with pytest.raises(StageFailed, match="there is no file"):
        run_stages(plan, tmp_path, {}, report=lambda _: None)
    script.write_text('raise OSError("the disk is full")\n')
    with pytest.raises(StageFailed) as failed:
        run_stages(plan, tmp_path, {}, report=lambda _: None)
    assert str(failed.value).startswith("stub failed: OSError: the disk is full. Log: ")


def test_a_stage_of_fit_itself_fails_likewise(tmp_path: Path) -> None:
    stage = Stage(kind="report", title="report", reason="", folder=".")
    plan = Plan(bundle=tmp_path, network="unet", decisions=(), stages=(stage,))

    def fail() -> None:
        print("what MONAI says")
        raise OSError(28, "No space left on device")

    with pytest.raises(StageFailed, match=r"report failed: \[Errno 28\] No space left on device. Log: "):
        run_stages(plan, tmp_path, {"report": fail})
    assert "what MONAI says" in (tmp_path / "log.txt").read_text()
