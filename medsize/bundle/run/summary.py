"""Summary of a run, ``summary.json``: its settings, its course and its results."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from medsize.bundle.run.folder import INFERENCE, SUMMARY, WEIGHTS, check_finished
from medsize.bundle.run.inference_settings import inference_settings
from medsize.files import atomic_write
from medsize.metrics.conformal import SizeCalibration
from medsize.model_errors import found_and_expected

__all__ = ["MetricResult", "RunResults", "RunSummary", "StructureResult", "inference_bundle"]


class StructureResult(BaseModel):
    """A metric of one structure over the validation cases."""

    model_config = ConfigDict(extra="allow")

    mean: float | None = None
    """Mean over the cases; ``None`` if the metric is undefined in all of them."""
    std: float | None = None
    cases: int | None = None
    """Number of cases in which it is defined."""


class MetricResult(BaseModel):
    """A metric over the validation cases."""

    model_config = ConfigDict(extra="allow")

    mean: float | None = None
    """Mean over the structures; ``None`` if it is undefined for all of them."""
    structures: dict[str, StructureResult] = {}


class RunResults(BaseModel):
    """Metrics of a run's last evaluation."""

    model_config = ConfigDict(extra="allow")

    dice: MetricResult = MetricResult()
    hd95_mm: MetricResult = MetricResult()
    volume_error_ml: MetricResult = MetricResult()
    relative_size_error: MetricResult = MetricResult()
    """Its mean over the structures is the mRE."""
    false_finding: MetricResult = MetricResult()
    """Its means are false finding rates: shares of the scans without the structure in which it is found."""
    false_fraction: MetricResult = MetricResult()
    """Part of a scan without the structure that is predicted as such."""
    circumference_error_mm: MetricResult = MetricResult()


class RunSummary(BaseModel):
    """
    Settings, course and results of a run: :data:`medsize.bundle.run.folder.SUMMARY`.

    Every key may be missing: summaries of evaluations have few, older ones lack the newer. Unknown keys are kept.
    """

    model_config = ConfigDict(extra="allow")

    seed: int | None = None
    supervision: str | None = None
    size_level: str | None = None
    num_masks: int | None = None
    init: str | None = None
    checkpoint: str | None = None
    """Weights of an evaluation without training."""
    roi: bool = False
    """True if scans were cropped to regions of interest."""
    spacing: list[float] | None = None
    roi_size: list[int] | None = None
    bundle: str | None = None
    """Folder of the bundle."""
    data_list: str | None = None
    data_list_sha256: str | None = None
    training_scans: int | None = None
    epochs: int | None = None
    training_seconds: float | None = None
    loader_share: float | None = None
    """Share of the training time, without the first epoch, that was spent waiting for the loader."""
    cases: int | None = None
    """Number of validation cases."""
    results: RunResults = RunResults()
    calibration: dict[str, SizeCalibration] = {}
    """By structure, the interval of predicted volumes, from the validation cases."""
    doubt: str = ""
    """Finding of ``medsize fit`` against the use of the network; empty if there is none."""

    size_detail: str = "given"
    """The defaults of this and the following keys are those of labels as given."""
    size_noise: str | None = None
    size_noise_file: str | None = None
    mask_noise: str | None = None
    noise_level: float = 0.0
    noise_stated: bool = False
    size_change: float | None = 0.0
    """Mean relative error of the training sizes; ``None`` if there are none."""
    expected_size_change: float | None = 0.0
    """Its expectation over all seeds."""
    mask_change: float | None = 0.0
    """Mean of |A Δ B| / |A| of the training masks; ``None`` if there are none."""

    peak_memory_mb: float | None = None
    processes: int | None = None
    threads: int | None = None
    machine: str | None = None
    versions: dict[str, str] = {}

    @classmethod
    def read(cls, run: Path) -> RunSummary:
        """
        Read the summary of a finished run.

        Args:
            run: its output folder.

        Raises:
            OSError: when the run is not finished.
            ValueError: with the problems of the file.
        """
        file = run / SUMMARY
        try:
            return cls.model_validate_json(file.read_bytes())
        except ValidationError as e:
            found = " ".join(map(found_and_expected, e.errors()))
            raise ValueError(
                f"{file}: {found} Remove the file and start the run again with --resume True: then it is written anew."
            ) from e

    def write(self, run: Path) -> None:
        """Write the keys that were given, in one step."""
        with atomic_write(run / SUMMARY) as file:
            file.write_text(self.model_dump_json(indent=2, exclude_unset=True) + "\n", encoding="utf-8")


def inference_bundle(run: Path, bundle: Path | None, on_regions: str | None = None) -> Path:
    """
    Return the bundle that applies a run's network.

    Args:
        run: output folder of the run.
        bundle: folder of the bundle. Default: the path that the run recorded.
        on_regions: end of the message that refuses a run which was cropped to regions of interest. Default: take it.

    Raises:
        ValueError: when the run is not finished, broken or refused, or there is no bundle.
    """
    check_finished(run, [WEIGHTS, INFERENCE, SUMMARY])
    summary = RunSummary.read(run)
    if summary.roi and on_regions is not None:
        raise ValueError(f"{run} was cropped to regions of interest (use_roi){on_regions}")
    inference_settings(run)  # refuses a broken file
    if bundle is None and summary.bundle is None:
        raise ValueError(f"{run / SUMMARY}: found no bundle, expected its folder. Name it: --bundle FOLDER")
    bundle = bundle or Path(str(summary.bundle))
    if not (bundle / "configs" / "inference.yaml").is_file():
        raise ValueError(
            f"{bundle} is not a bundle with configs/inference.yaml. Name the bundle of the run: --bundle FOLDER"
        )
    return bundle
