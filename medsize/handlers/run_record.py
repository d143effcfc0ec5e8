"""Record of a run: its config, its course and its summary, in its output folder."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser, ReferenceResolver

from medsize.bundle.run.folder import CONFIG, EPOCHS, INFERENCE, METRICS, SUMMARY
from medsize.bundle.run.settings import RunSettings
from medsize.bundle.run.summary import RunSummary
from medsize.bundle.run.workflow import running_workflow
from medsize.files import atomic_write
from medsize.handlers.peak_memory import peak_bytes
from medsize.metrics.conformal import SizeCalibration
from medsize.metrics.reliability import CohortFacts

__all__ = ["RunRecord", "write_calibration"]

PACKAGES = ("medsize", "monai", "torch", "pytorch-ignite", "numpy", "nibabel", "scipy")


class RunRecord:
    """
    Keep a run's config, its course and its summary in its output folder.

    - ``config.yaml``: the config as it was run, overrides and overlays merged, top-level values resolved;
    - ``epochs.csv``: for every epoch the mean loss and its terms, the metrics of the last validation, seconds, and the
      seconds that training waited for the loader;
    - ``inference.json``: an overlay for the bundle's inference config: the values of ``inference``, the network and, at
      the end, the calibration of its volumes and the values of the scans that it was validated on (``cohort_facts``);
    - ``summary.json``: a :class:`medsize.bundle.run.summary.RunSummary`, written by :meth:`write_summary`. That of a
      training before, whose weights are being replaced, is removed when training starts, with its ``metrics.csv``.

    Of several processes, the first one writes; losses are the means over all.

    Args:
        output_dir: folder of the run; created where missing.
        facts: what the summary shall hold: the hash of the data list, and the like. A function is called when it is
            written.
        loss_function: a loss that keeps its last terms in ``terms``.
        evaluator: engine whose metrics are recorded with each epoch.
        inference: values that inference must share with the training.
        settings: of the run, see :class:`medsize.bundle.run.settings.RunSettings`: they stand in the summary, too.
    """

    def __init__(
        self,
        output_dir: str,
        facts: Mapping[str, Any] | None = None,
        loss_function: Any = None,
        evaluator: Engine | None = None,
        inference: Mapping[str, Any] | None = None,
        settings: RunSettings | Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.inference = inference
        self.settings = None if settings is None else RunSettings.model_validate(settings)
        self.facts = dict(facts or {})
        self.loss_function = loss_function
        self.evaluator = evaluator
        self._values: dict[str, list[float]] = {}
        self._rows: list[dict[str, Any]] = []
        self._epoch_started = self._batch_started = self._waited = 0.0

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the trainer.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._start_waiting)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._stop_waiting)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_terms)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)
        engine.add_event_handler(Events.COMPLETED, self._end)

    def write_config(self) -> None:
        """Write the config of the bundle workflow that is running; outside one there is none to write."""
        workflow = running_workflow()
        if workflow is None or idist.get_rank() > 0:
            return
        parser = workflow.parser
        config = dict(parser.config)
        for key, value in config.items():
            if isinstance(value, str) and value.startswith(("$", "@")):
                resolved = parser.ref_resolver.resolved_content.get(key, value)
                # Lists that follow from other keys keep their references, for a run again with others of these.
                is_proposed = "proposal" in ReferenceResolver.match_refs_pattern(value)
                if isinstance(resolved, bool | int | float | str) or is_proposed:
                    config[key] = copy(resolved)  # YAML would write a list that occurs twice as an alias
        self.output_dir.mkdir(parents=True, exist_ok=True)
        ConfigParser.export_config_file(config, str(self.output_dir / CONFIG), fmt="yaml", sort_keys=False)

    @property
    def intensity_window(self) -> Sequence[float] | None:
        """Intensities that the network sees as 0 and 1; ``None`` for percentiles."""
        window: Sequence[float] | None = (self.inference or {}).get("intensity_window")
        return window

    @property
    def orientation(self) -> str:
        """Codes of the axes that the network sees; empty: as scans are stored."""
        return str((self.inference or {}).get("orientation", ""))

    def write_summary(
        self,
        calibration: Mapping[str, SizeCalibration] | None = None,
        cohort: CohortFacts | None = None,
        **results: Any,
    ) -> None:
        """
        Write ``summary.json``, and the calibration also to ``inference.json``, if the run has one.

        Args:
            calibration: calibration of the volumes by structure.
            cohort: values of the scans, for ``inference.json`` alone.
            results: what else the evaluation found.
        """
        if idist.get_rank() > 0:
            return
        if calibration is not None:
            results["calibration"] = calibration
            if (self.output_dir / INFERENCE).is_file():
                write_calibration(self.output_dir / INFERENCE, calibration, cohort)
        steady = [row for row in self._rows if row["epoch"] > 1] or self._rows
        summary = {
            **(self.settings.recorded() if self.settings is not None else {}),
            **{key: fact() if callable(fact) else fact for key, fact in self.facts.items()},
            "epochs": self._rows[-1]["epoch"] if self._rows else None,
            "training_seconds": round(sum(row["seconds"] for row in self._rows), 2) if self._rows else None,
            "loader_share": (
                round(sum(r["loader_seconds"] for r in steady) / sum(r["seconds"] for r in steady), 4)
                if steady
                else None
            ),
            **results,
            "peak_memory_mb": round(_peak_memory_mb(), 1),
            "processes": idist.get_world_size(),
            "threads": torch.get_num_threads(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version(), **_versions()},
        }
        RunSummary.model_validate(summary).write(self.output_dir)

    def _start(self, _: Engine) -> None:
        if idist.get_rank() == 0:
            for name in (SUMMARY, METRICS):  # of weights that this training replaces
                (self.output_dir / name).unlink(missing_ok=True)
        self.write_config()
        if self.inference is not None and idist.get_rank() == 0:
            overlay = {**self.inference, **_definitions()}
            with atomic_write(self.output_dir / INFERENCE) as file:
                file.write_text(json.dumps(overlay, indent=2) + "\n")
        self._rows = []

    def _start_epoch(self, engine: Engine) -> None:
        if not self._rows and engine.state.epoch > 1:
            self._rows = self._rows_before(engine.state.epoch)
        self._epoch_started = time.perf_counter()
        self._waited = 0.0
        self._values = {}

    def _end(self, engine: Engine) -> None:
        if not self._rows:  # resumed after its last epoch
            self._rows = self._rows_before(engine.state.epoch + 1)

    def _rows_before(self, epoch: int) -> list[dict[str, Any]]:
        """Rows of the epochs that a resumed run had finished."""
        file = self.output_dir / EPOCHS
        if not file.is_file():
            return []
        with file.open() as lines:
            rows = [{key: _number(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]
        return [row for row in rows if row["epoch"] < epoch]

    def _start_waiting(self, _: Engine) -> None:
        self._batch_started = time.perf_counter()

    def _stop_waiting(self, _: Engine) -> None:
        self._waited += time.perf_counter() - self._batch_started

    def _add_terms(self, engine: Engine) -> None:
        output = engine.state.output
        loss = output[0]["loss"] if isinstance(output, list) else output["loss"]
        for name, value in {"loss": loss.detach(), **getattr(self.loss_function, "terms", {})}.items():
            self._values.setdefault(name, []).append(float(value))

    def _end_epoch(self, engine: Engine) -> None:
        row: dict[str, Any] = {
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            **_means_of_all_processes(self._values),
        }
        if self.evaluator is not None:
            row |= {name: float(value) for name, value in self.evaluator.state.metrics.items()}
        row["seconds"] = time.perf_counter() - self._epoch_started
        row["loader_seconds"] = self._waited
        self._rows.append(row)
        if idist.get_rank() > 0:
            return
        columns = list(dict.fromkeys(key for row in self._rows for key in row))
        with atomic_write(self.output_dir / EPOCHS) as file, file.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, columns)
            writer.writeheader()
            writer.writerows(self._rows)


def write_calibration(
    inference: Path, calibration: Mapping[str, SizeCalibration], cohort: CohortFacts | None = None
) -> None:
    """
    Write the calibration of volumes into an overlay of the inference config.

    Args:
        inference: a run's ``inference.json``.
        calibration: by structure.
        cohort: values of the scans that calibrate.
    """
    overlay = json.loads(inference.read_text())
    if cohort is not None:
        overlay["cohort_facts"] = cohort.recorded()
    overlay["calibration"] = {name: asdict(of_structure) for name, of_structure in calibration.items()}
    with atomic_write(inference) as file:
        file.write_text(json.dumps(overlay, indent=2) + "\n")


def _definitions() -> dict[str, Any]:
    """
    Definitions of the bundle workflow that is running that inference shares, as its config has them.

    They are ``network_def``, what that refers to, and what an overlay has in place of the bundle's own intensities,
    which inference knows.
    """
    workflow = running_workflow()
    if workflow is None:
        return {}
    parser = workflow.parser
    definition = parser["network_def"]
    references = (ReferenceResolver.match_refs_pattern(str(value)) for value in definition.values())
    names = {name for found in references for name in found}
    shared = {name: parser.get_parsed_content(name) for name in sorted(names)} | {"network_def": definition}
    intensities = parser.get("intensity_transforms")
    if intensities is not None and "@" not in str(intensities):
        shared["intensity_transforms"] = intensities
    return shared


def _means_of_all_processes(values: Mapping[str, list[float]]) -> dict[str, float]:
    # A term that only some processes saw has its mean over these.
    of_all: list[Mapping[str, list[float]]] = idist.all_gather(values)
    names = dict.fromkeys(name for of_one in of_all for name in of_one)
    joined = {name: [value for of_one in of_all for value in of_one.get(name, [])] for name in names}
    return {name: sum(found) / len(found) for name, found in joined.items()}


def _number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)  # nan and inf are floats, too


def _peak_memory_mb() -> float:
    if torch.cuda.is_initialized():  # not by a run on the CPU
        return float(torch.cuda.max_memory_allocated() / 2**20)
    return peak_bytes() / 2**20


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
