"""A study may be killed at any moment: nothing finished is lost, nothing is done twice, and the end is the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medsize.bundle import supervise
from medsize.studies.robustness import RobustnessStudy, run_robustness
from medsize.studies.robustness.dask_cluster import batch_cluster, local_workers
from medsize.studies.study import load_study
from tests.studies.robustness.conftest import STUB, stub_command, study

STUDY_PROCESS = """
if __name__ == "__main__":  # the workers, which import this file too, shall start at once
    import sys
    from pathlib import Path
    from medsize.studies.robustness import run_robustness
    from tests.studies.robustness.conftest import stub_command
    file, work_dir, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    run_robustness(file, file.parent, work_dir, workers=2, command=stub_command(work_dir, seconds=seconds))
"""
RESULTS = ["accuracy", "cases", "comparisons", "equally_wrong", "crossovers", "volume_agreement"]


def start(study_file: Path, work_dir: Path, seconds: float) -> subprocess.Popen:
    program = study_file.parent / "program.py"
    program.write_text(STUDY_PROCESS)
    environment = {**os.environ, "PYTHONPATH": str(STUB.parents[3])}
    return subprocess.Popen(
        [sys.executable, str(program), str(study_file), str(work_dir), str(seconds)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def running(text: str) -> list[int]:
    """Processes whose command line holds a text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in command:
            found.append(int(entry.parent.name))
    return found


def children(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def cells_running(work_dir: Path) -> list[int]:
    """Processes of cells, without their supervisors."""
    supervisors = running(supervise.MODULE)
    return [process for process in running(f"{STUB.name} {work_dir}") if process not in supervisors]


def parents(processes: list[int]) -> list[int]:
    """Return the parents of the processes that still run."""
    listed = subprocess.run(
        ["ps", "-o", "ppid=", "-p", ",".join(map(str, processes or [0]))], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]


def wait_for(condition, seconds: float = 180) -> None:  # type: ignore[no-untyped-def]
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def epochs_of(work_dir: Path) -> dict[str, list[str]]:
    return {log.parent.name: log.read_text().splitlines() for log in sorted(work_dir.rglob("epochs.log"))}


def same_results(work_dir: Path, other: Path) -> None:
    for name in RESULTS:
        tables = [pd.read_csv(folder / "report" / f"{name}.csv") for folder in (work_dir, other)]
        pd.testing.assert_frame_equal(*tables)


def test_every_cell_runs_once_and_again_none(study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    work_dir = tmp_path / "work"
    first = run_robustness(study_file, tmp_path, work_dir, workers=2, command=stub_command(work_dir))
    assert {outcome.kind for outcome in first.outcomes.values()} == {"done"}
    assert len(first.outcomes) == len(first.cells) == 12
    told = capsys.readouterr().out
    assert "[12/12]" in told
    assert "best 0." in told
    assert "worst 0." in told
    logs = epochs_of(work_dir)
    assert len(logs) == 12
    assert all([line.split()[0] for line in lines] == ["epoch", "epoch", "epoch", "end"] for lines in logs.values())

    again = run_robustness(study_file, tmp_path, work_dir, workers=2, command=stub_command(work_dir))
    assert again.outcomes == {}
    assert epochs_of(work_dir) == logs
    assert again.report is not None


def test_a_cell_has_one_thread_and_keeps_the_memory_that_it_frees(study_file: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    run_robustness(study_file, tmp_path, work_dir, workers=1, only="gaussian.*seed 0", command=stub_command(work_dir))
    environments = [json.loads(file.read_text()) for file in work_dir.rglob("environment.json")]
    assert [environment["OMP_NUM_THREADS"] for environment in environments] == ["1"] * 2
    assert not [name for environment in environments for name in environment if name.startswith("MALLOC_")]


def test_a_cell_that_fails_is_tried_twice_and_the_others_go_on(study_file: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    command = stub_command(work_dir, broken="gaussian 0.6")
    result = run_robustness(study_file, tmp_path, work_dir, workers=2, only="seed 0", command=command)
    assert [cell.labels for cell in result.failed] == ["sizes, gaussian 0.6"]
    assert sorted(outcome.kind for outcome in result.outcomes.values()) == ["done"] * 5 + ["failed"]
    log = result.failed[0].folder(work_dir) / "log.txt"
    assert log.read_text().count("This cell is broken.") == 2
    assert result.report is not None
    assert str(log) in result.report.read_text()

    mended = run_robustness(study_file, tmp_path, work_dir, workers=1, only="seed 0", command=stub_command(work_dir))
    assert [outcome.kind for outcome in mended.outcomes.values()] == ["done"]


def test_killed_at_random_moments_it_ends_as_if_undisturbed(study_file: Path, tmp_path: Path) -> None:
    undisturbed, work_dir = tmp_path / "undisturbed", tmp_path / "killed"
    run_robustness(study_file, tmp_path, undisturbed, workers=2, command=stub_command(undisturbed))
    rng = random.Random(0)
    finished: set[Path] = set()
    for victim in ("cell", "worker", "study"):
        process = start(study_file, work_dir, seconds=0.3)
        wait_for(lambda: len(cells_running(work_dir)) >= 2)
        time.sleep(rng.uniform(0, 0.8))
        chosen: list[int] = []
        while not chosen:  # one cell ends, and the next begins
            cells = cells_running(work_dir)
            chosen = {"cell": cells[:1], "worker": parents(parents(cells))[:1], "study": [process.pid]}[victim]
        os.kill(chosen[0], signal.SIGKILL)
        if victim != "study":
            time.sleep(0.5)
            process.kill()
        process.wait()
        # Nobody outlives the study and goes on writing.
        wait_for(lambda: not running(f"{STUB.name} {work_dir}"), seconds=20)
        assert finished <= set(work_dir.rglob("summary.json"))
        finished = set(work_dir.rglob("summary.json"))
    result = run_robustness(study_file, tmp_path, work_dir, workers=2, command=stub_command(work_dir))
    assert not result.failed
    same_results(work_dir, undisturbed)
    for lines in epochs_of(work_dir).values():
        # An epoch is repeated where the kill came between its end and its checkpoint, never a whole run.
        assert sum(line.startswith("end") for line in lines) <= 1
        assert len(lines) <= 4 + 3


def test_two_studies_in_one_folder_share_the_work(study_file: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    (work_dir / "hold").touch()
    both = [start(study_file, work_dir, seconds=0.1) for _ in range(2)]
    wait_for(lambda: len(cells_running(work_dir)) >= 4)
    (work_dir / "hold").unlink()
    for process in both:
        told, _ = process.communicate(timeout=300)
        assert process.returncode == 0, told
        assert ": done" in told
    logs = epochs_of(work_dir)
    assert len(logs) == 12
    for lines in logs.values():
        assert [line.split()[0] for line in lines] == ["epoch", "epoch", "epoch", "end"]
        assert len({line.split()[-1] for line in lines}) == 1


def test_results_of_other_settings_are_not_taken_for_those_of_the_study(study_file: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    run_robustness(study_file, tmp_path, work_dir, workers=1, only="as given / seed 0", command=stub_command(work_dir))
    study_file.write_text(yaml.safe_dump(study(overrides={"max_epochs": 7})))
    with pytest.raises(ValueError, match="max_epochs was None, is 7"):
        run_robustness(study_file, tmp_path, work_dir, only="seed 1", command=stub_command(work_dir))
    others = [{"name": "Phantoms", "dataset_dir": "phantoms", "prepare": ["data_prep.acdc", "--validation", "1-9"]}]
    study_file.write_text(yaml.safe_dump(study(cohorts=others)))
    with pytest.raises(ValueError, match=r"cohort: prepare was \[\], is \['data_prep.acdc'"):
        run_robustness(study_file, tmp_path, work_dir, command=stub_command(work_dir))


def test_results_without_their_settings_are_not_taken_for_those_of_the_study(study_file: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    run_robustness(study_file, tmp_path, work_dir, workers=1, only="as given / seed 0", command=stub_command(work_dir))
    for file in work_dir.glob("*/*sizes*/cell.json"):
        file.unlink()
    with pytest.raises(ValueError, match=r"sizes, as given / seed 0: it was run, but cell\.json is missing"):
        run_robustness(study_file, tmp_path, work_dir, command=stub_command(work_dir))


def test_a_choice_that_is_no_regular_expression_is_refused(study_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--only '\(' is not a regular expression"):
        run_robustness(study_file, tmp_path, tmp_path / "work", only="(", command=stub_command(tmp_path))


def test_a_choice_of_no_cell_is_refused(study_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no cell's name matches"):
        run_robustness(study_file, tmp_path, tmp_path / "work", only="liver", command=stub_command(tmp_path))


def test_every_worker_has_one_thread_and_a_gpu_or_core_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = local_workers(2)["workers"]
    assert [worker["options"]["env"] for worker in workers.values()] == [{"OMP_NUM_THREADS": "1"}] * 2
    assert all(worker["options"]["nthreads"] == 1 for worker in workers.values())
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    workers = local_workers()["workers"]
    assert [worker["options"]["env"]["CUDA_VISIBLE_DEVICES"] for worker in workers.values()] == ["1", "3"]


@pytest.mark.parametrize(("system", "directive"), [("slurm", "#SBATCH --mem=8G"), ("pbs", "mem=")])
def test_a_batch_system_gets_a_job_for_one_cell_at_a_time(
    study_file: Path, tmp_path: Path, system: str, directive: str
) -> None:
    cluster = {"system": system, "workers": 4, "memory": "8GB", "options": {"queue": "gpu", "walltime": "02:00:00"}}
    study_file.write_text(yaml.safe_dump(study(cluster=cluster)))
    found = load_study(study_file, RobustnessStudy).cluster
    assert found is not None
    with batch_cluster(found) as jobs:
        script = jobs.job_script()
    assert directive in script
    assert "gpu" in script
    assert "02:00:00" in script
    assert "--nthreads 1" in script
