"""Fuzzing: mutate, run ``medsize init`` in a forked process, and judge what it did."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import medsize.cohort.report as cohort_report
from tests import warm_process
from tests.fuzz.inputs import WRITERS, Files, cohort
from tests.fuzz.mutations import mutate
from tests.fuzz.reference import disagreements

LIMIT = 10.0
"""Seconds that a run may take."""
ENVIRONMENT = {"COLUMNS": "4000", "PYTHONWARNINGS": "ignore", "TERM": "dumb", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


@dataclass
class Tally:
    """Outcomes of a fuzzing."""

    outcomes: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    """Faults, with seed and mutations."""

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self.outcomes.items()))
        return f"{sum(self.outcomes.values())} inputs: {counts}; {len(self.found)} faults"


def fuzz_one(seed: int, kinds: list[str], sound: dict[str, Files], root: Path) -> tuple[str, str | None]:
    """
    Try the mutated cohort of a seed.

    Args:
        seed: seed of the format and its mutations.
        kinds: formats to choose from.
        sound: cohorts without a fault, made when they are needed.
        root: folder to work in.

    Returns:
        the outcome in a word, and the fault, if there is one.
    """
    rng = Random(seed)
    kind = rng.choice(kinds)
    files = dict(sound.setdefault(kind, cohort(kind) if kind not in sound else {}))
    done = mutate(files, kind, rng)
    folder = root / "case"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    table = next((name for name in sorted(files) if name.startswith("sizes.")), None)
    arguments = ["init", "in", "--output", "out", "--keep-identifiers", *(["--sizes", table] if table else [])]
    code, text = _run(arguments, folder)
    fault = _fault(code, text, done, folder, kind)
    outcome = "prepared" if code == 0 else "prepared in part" if (folder / "out/datalist.json").is_file() else "refused"
    if fault is None:
        return outcome, None
    mutations = "\n    ".join(line.encode(errors="backslashreplace").decode() for line in done)
    return outcome, f"--seed {seed} --mutations 1  [{kind}]: {fault}\n    {mutations}"


def _fault(code: int, text: str, done: list[str], folder: Path, kind: str) -> str | None:
    shown = text[-1500:]
    if code == -signal.SIGKILL:
        return f"still running after {LIMIT:g} s\n{shown}"
    if "Traceback" in text or code not in (0, 1, 2):
        return f"traceback, exit code {code}\n{shown}"
    if list(folder.glob("out/**/*.partial")):
        return "a half-written file is left"
    if (folder / "out/datalist.json").is_file():
        # What was left out with a word, such as a structure that one scan lacks, is not read wrongly in silence, nor is
        # a file that is named.
        is_said = "were left out" in text or _names_a_file(text, done, exactly=True)
        if (differing := _disagreements(folder, kind)) and not is_said:
            return f"exit code {code}, but " + "; ".join(differing[:3])
    elif code == 0:
        return f"exit code 0, but nothing is prepared\n{shown}"
    if code and not _names_a_file(text, done):
        return f"exit code {code}, and no file is named\n{shown}"
    return None


def _disagreements(folder: Path, kind: str) -> list[str]:
    """Compare in a forked process: some headers end SimpleITK at once. Then there is nothing to compare with."""
    told = folder / "disagreements.json"
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            found = list(disagreements(folder, kind))
        except Exception as e:  # noqa: BLE001  # a fault of the comparison itself
            found = [f"it cannot be compared: {e!r}"]
        told.write_text(json.dumps(found, default=str))
        os._exit(0)
    os.waitpid(child, 0)
    return list(json.loads(told.read_text())) if told.is_file() and told.stat().st_size else []


def _names_a_file(text: str, done: list[str], exactly: bool = False) -> bool:
    """Tell whether a message names one of the mutated files or, unless ``exactly``, its folder: a fault may spread."""
    said = re.sub(r"[\s│]+", "", text)
    paths = [Path(part) for line in done for part in re.findall(r"\b(?:in/|sizes)[^:\n]*", line)]
    names = {path.name for path in paths}
    if not exactly:
        names |= {n for path in paths for n in (path.stem, str(path.parent), path.parent.name, "in") if n}
    return any(re.sub(r"\s+", "", n.encode(errors="backslashreplace").decode()) in said for n in names)


def _run(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Run ``medsize`` in a forked process; return its exit code and all that it printed."""
    printed = folder / "printed.txt"
    environment = {**os.environ, **ENVIRONMENT, "MEDSIZE_CACHE_DIR": str(folder / "cache")}
    request = {"module": "medsize", "arguments": arguments, "cwd": str(folder), "environment": environment}
    child = os.fork()
    if not child:
        # Charts of the report take longer than all else, and show no input.
        cohort_report._histograms = lambda *_, **__: "data:,"  # type: ignore[assignment]
        cohort_report._pictures = lambda *_, **__: []  # type: ignore[assignment]
        warm_process.answer({**request, "stdout": str(printed), "stderr": str(folder / "errors.txt")})
    handle = os.pidfd_open(child)
    if not select.select([handle], [], [], LIMIT)[0]:
        os.kill(child, signal.SIGKILL)
    os.close(handle)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = [file.read_text(errors="backslashreplace") for file in (printed, folder / "errors.txt") if file.is_file()]
    return code, "\n".join(texts)


def fuzz(seeds: range, seconds: float = float("inf"), kinds: list[str] | None = None, log: Path | None = None) -> Tally:
    """
    Try the cohorts of several seeds.

    Args:
        seeds: seeds, one for each input.
        seconds: time after which no further one is begun.
        kinds: formats. Default: all.
        log: file that gets a line every 50 inputs and each fault at once; to follow a run, and to go on with it.
    """
    started, tally, sound = time.monotonic(), Tally(), {}  # type: ignore[var-annotated]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as root:
        for number, seed in enumerate(seeds, start=1):
            if time.monotonic() - started > seconds:
                break
            outcome, fault = fuzz_one(seed, kinds or list(WRITERS), sound, Path(root))
            tally.outcomes[outcome] += 1
            if fault:
                tally.found.append(fault)
            if log is not None and (fault or number % 50 == 0):
                with log.open("a") as opened:
                    opened.write(f"{fault}\n" if fault else f"seed {seed} done: {tally}\n")
    return tally
