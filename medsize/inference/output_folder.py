"""The folder of predictions: what made it, and which scans are finished, so that a stopped prediction goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from medsize import __version__
from medsize.bundle.run.folder import MASKS, VOLUMES, WEIGHTS
from medsize.bundle.run.inference_settings import inference_settings
from medsize.bundle.segment_images import is_whole
from medsize.files import atomic_write, locked
from medsize.suggest import first_few

__all__ = [
    "LARGE_MASK",
    "RECORD",
    "REGIONS",
    "OutputFolder",
    "image_name",
    "mask_file",
    "network_digest",
    "open_output",
]

RECORD = "made_by.json"
"""The network that made the masks, and of each scan the state of its files and its values."""
LOCK = ".lock"
UNFINISHED = ".unfinished"
"""Folder of what is being segmented. Its masks move to their place when they are whole."""
REGIONS = "regions.json"
"""Data list with the region of each scan, for a network that was trained on regions."""
LARGE_MASK = "_seg.tif"
"""End of the name of a large picture's mask."""
MADE_OF_A_SCAN = (
    *("images/{}.nii.gz", "dicom_seg/{}.dcm", "dicom_sr/{}.dcm"),
    *(f"{MASKS}/{{}}{end}" for end in ("_seg.png", "_seg.nii.gz", LARGE_MASK)),
)
OF_THE_TABLE = ("calibration", "cohort_facts", "checkpoint")
"""Keys of ``inference.json`` that change no mask."""


@dataclass
class OutputFolder:
    """
    Folder of predictions, held by one process at a time.

    A scan is finished when its mask is in ``masks/``, and its files are as they were then. MONAI writes to
    ``.unfinished``; a mask moves from there in one step.
    """

    folder: Path
    lock: int
    """Descriptor of the lock's file, for the inference: it outlives a command that is killed."""
    network: Mapping[str, str]
    """Its run and its digest, as the record holds them."""
    scans: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: ``state`` of the scan's files; ``facts``, see :func:`medsize.metrics.reliability.image_facts`;
    ``confidence`` by structure, see :class:`medsize.transforms.SoftDiceConfidence`; of DICOM the ``patient``, see
    :func:`medsize.inference.scanned_patient.scanned_patient`."""

    @property
    def images(self) -> Path:
        """Folder of the finished scans as NIfTI."""
        return self.folder / "images"

    @property
    def masks(self) -> Path:
        """Folder of their masks."""
        return self.folder / MASKS

    @property
    def unfinished(self) -> Path:
        """Folder of what is being segmented, with ``images``, ``masks`` and ``regions.json`` of its own."""
        return self.folder / UNFINISHED

    def is_finished(self, name: str) -> bool:
        """Return whether a scan has a mask."""
        return mask_file(self.folder, name).is_file() or (self.masks / f"{name}{LARGE_MASK}").is_file()

    def go_on(self, states: Mapping[str, str], report: Callable[[str], None], noun: str = "scan") -> None:
        """
        Keep what a stopped command has finished, and remove what was made of scans that have changed since.

        Args:
            states: by name, the present state of each scan.
            report: function that gets a line about each of these.
            noun: word for a scan. Defaults to ``"scan"``.
        """
        for name, state in states.items():
            if name in self.scans and self.scans[name]["state"] != state:
                if self.is_finished(name):
                    report(f"{name}: it has changed since it was segmented, and is segmented again")
                for made in MADE_OF_A_SCAN:
                    (self.folder / made.format(name)).unlink(missing_ok=True)
                del self.scans[name]
        self.keep(name for name in self.scans if is_whole(mask_file(self.unfinished, name)))
        shutil.rmtree(self.unfinished, ignore_errors=True)
        if kept := [name for name in states if self.is_finished(name)]:
            report(f"{self.folder}: {len(kept)} of {len(states)} {noun}s are segmented already")
        if gone := sorted(name for name in self.scans if name not in states and self.is_finished(name)):
            report(
                f"{self.folder}: {len(gone)} of its {noun}s are not here any more, their masks stay: {first_few(gone)}"
            )
        self.scans |= {name: {"state": state} for name, state in states.items() if name not in self.scans}

    def write_record(self) -> None:
        """Write what makes the masks: before they are made."""
        record = {**self.network, "medsize": __version__, "scans": self.scans}
        with atomic_write(self.folder / RECORD) as file:
            file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", errors="surrogateescape")

    def keep(self, names: Iterable[str]) -> None:
        """Move the images and whole masks of scans to their place, and keep their regions and confidences."""
        kept = set(names)
        self._keep_confidences(kept)
        listed, own = (folder / REGIONS for folder in (self.folder, self.unfinished))
        if kept and own.is_file():
            regions = json.loads(own.read_text())
            before = json.loads(listed.read_text())["training"] if listed.is_file() else []
            items = {item["image"]: item for item in before}
            items |= {item["image"]: item for item in regions["training"] if image_name(Path(item["image"])) in kept}
            with atomic_write(listed) as file:
                file.write_text(json.dumps(regions | {"numTraining": len(items), "training": list(items.values())}))
        for name in kept:
            for source in (self.unfinished / "images" / f"{name}.nii.gz", mask_file(self.unfinished, name)):
                if source.is_file():
                    target = self.folder / source.relative_to(self.unfinished)
                    target.parent.mkdir(exist_ok=True)
                    os.replace(source, target)

    def _keep_confidences(self, names: set[str]) -> None:
        """Record how sure the network is of the structures in scans."""
        written = (self.unfinished / MASKS / VOLUMES).with_suffix(".json")
        if not names or not written.parent.is_dir():
            return
        for scan in _written_scans(written):
            found = {structure: of.get("confidence") for structure, of in scan["structures"].items()}
            if (name := image_name(Path(scan["image"]))) in names:
                self.scans[name]["confidence"] = {key: value for key, value in found.items() if value is not None}
        self.write_record()


@contextmanager
def open_output(folder: Path, run: Path, network: str, report: Callable[[str], None]) -> Iterator[OutputFolder]:
    """
    Hold a folder of predictions; a new one in which nothing was begun is removed after a refusal.

    Args:
        folder: a new or empty folder, or one that the same network has begun.
        run: output folder of the network's run.
        network: see :func:`network_digest`.
        report: function that gets a line if another process holds the folder.

    Raises:
        ValueError: when it holds something else, or masks of another network.
    """
    _begun_scans(folder, run, network)
    is_new = not folder.exists()
    waits = partial(report, f"{folder}: another process writes to it, or what it has started. Waiting for its end …")
    with locked(folder, LOCK, waits) as lock:
        begun = _begun_scans(folder, run, network)
        output = OutputFolder(folder, lock, {"run": str(run.resolve()), "network": network}, begun)
        try:
            yield output
        except ValueError:
            if not (folder / RECORD).exists():  # what is not ours stays
                shutil.rmtree(output.unfinished, ignore_errors=True)
                (folder / LOCK).unlink()
                if is_new:
                    folder.rmdir()
            raise
        shutil.rmtree(output.unfinished, ignore_errors=True)


def _begun_scans(folder: Path, run: Path, network: str) -> dict[str, dict[str, Any]]:
    """Return the scans that a folder's record holds; refuse a folder of something else or of another network."""
    if not folder.exists() or all(file.name.startswith(".") for file in folder.iterdir()):
        return {}
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        raise ValueError(f"{folder} is not empty. Name a new folder, or one that this command has begun.") from None
    if record["network"] != network:
        raise ValueError(
            f"{folder}: found masks of another network, or of another state of it ({record['run']}), expected those of "
            f"{run}. Name a new folder."
        )
    scans: dict[str, dict[str, Any]] = record["scans"]
    return scans


def network_digest(run: Path, bundle: Path, coarse: Path | None) -> str:
    """
    Return a hash of what decides on the masks of a scan.

    Args:
        run: output folder of the network's run.
        bundle: its bundle.
        coarse: output folder of the run that locates the structures, if any.
    """
    digest = hashlib.sha256((bundle / "configs" / "inference.yaml").read_bytes())
    for folder in (run, coarse):
        if folder is None or not (folder / WEIGHTS).is_file():  # the latter is refused later
            continue
        settings = inference_settings(folder)
        kept = {key: value for key, value in settings.items() if key not in OF_THE_TABLE}
        digest.update(json.dumps(kept, sort_keys=True).encode())
        digest.update((folder / WEIGHTS).read_bytes())
    return digest.hexdigest()


def image_name(image: Path) -> str:
    """Return the name of a scan by its file."""
    return image.name.removesuffix(".nii.gz")


def mask_file(output_dir: Path, name: str) -> Path:
    """Return the NIfTI mask of a scan."""
    return output_dir / MASKS / f"{name}_seg.nii.gz"


def _written_scans(volumes: Path) -> list[dict[str, Any]]:
    """Return the scans of a ``volumes.json``, or the lines that a stopped inference has left of it."""
    lines = volumes.with_suffix(".jsonl")
    if not lines.is_file():
        return json.loads(volumes.read_bytes())["scans"] if volumes.is_file() else []
    *whole, _ = lines.read_text(encoding="utf-8").split("\n")  # the last line may be cut off
    return [json.loads(line) for line in whole]
