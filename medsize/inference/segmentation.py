"""The run of MONAI's inference on converted scans."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medsize.bundle.run_command import as_typed, run_command
from medsize.bundle.run_folder import INFERENCE, MASKS
from medsize.bundle.segment_images import run_past_faults
from medsize.inference.where_to_look import WhereToLook, write_regions
from medsize.scans.scan import FoundScan

__all__ = ["Segmentation", "image_name", "mask_file"]

REGIONS = "regions.json"
"""Data list with the region of each scan, for a network that was trained on regions."""


@dataclass(frozen=True)
class Segmentation:
    """Network of a run, and where its output goes."""

    run: Path
    bundle: Path
    output_dir: Path
    report: Callable[[str], None]
    """Function that gets the commands of MONAI that are run."""
    look: WhereToLook | None = None
    """Regions of interest, for a network that was trained on them."""

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The run's ``inference.json``."""
        settings: dict[str, Any] = json.loads((self.run / INFERENCE).read_text())
        return settings

    @property
    def structures(self) -> list[str]:
        """Names of the classes 1, 2, …."""
        structures: list[str] = self.settings["structures"]
        return structures

    @property
    def images(self) -> Path:
        """Folder of the scans as NIfTI."""
        return self.output_dir / "images"

    def segment(
        self, named: Mapping[str, FoundScan], paths: Mapping[str, str]
    ) -> tuple[dict[str, FoundScan], list[str]]:
        """
        Segment converted scans; a network that was trained on regions sees these alone.

        Args:
            named: the scans by name.
            paths: their paths, as regions are stated for them.

        Returns:
            the scans that have a mask, and the problems of the others, whose images are deleted.

        Raises:
            ValueError: when no scan has a region.
            subprocess.CalledProcessError: when the inference fails for another reason than a single scan.
        """
        if not named:
            return {}, []
        regions, reasons = None, dict[str, str]()
        if self.look is not None:
            images = {name: self._image(name) for name in named}
            regions, reasons = self.look.regions(images, paths, self._window_mm(), self.report)
            if not regions:
                told = [f"{named[name].source}: {reason}" for name, reason in reasons.items()]
                raise ValueError("\n".join(["there is no scan with a region to look at.", *told]))
        for name in reasons:
            self._image(name).unlink()
        stopped = self._infer({name: scan for name, scan in named.items() if name not in reasons}, regions)
        reasons |= dict.fromkeys(stopped, "the inference stopped at this scan; its message is above. It was left out.")
        segmented = {name: scan for name, scan in named.items() if name not in reasons}
        return segmented, [f"{named[name].source}: {reason}" for name, reason in reasons.items()]

    def _infer(self, named: Mapping[str, FoundScan], regions: Mapping[str, Mapping[str, Any]] | None) -> list[str]:
        """Run the inference, and again without a scan at which it stops; return the names of these."""
        masks, listed = self.output_dir.resolve() / MASKS, self.output_dir.resolve() / REGIONS
        configs: list[str | Path] = ["inference.yaml", self.run / INFERENCE]
        options = ["--dataset_dir", str(self.images.resolve()), "--output_dir", str(masks)]
        if regions is not None:
            configs.append("inference_roi.yaml")
            options += ["--data_list", str(listed)]
        command = run_command(self.bundle, configs, options)
        self.report(as_typed(command))

        def start(left: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
            for name in (name for name in named if name not in left and self._image(name).exists()):
                self.report(f"the inference stopped at {named[name].source}: it is run again without that scan")
                self._image(name).unlink()
            if regions is not None:
                write_regions(listed, self.structures, {name: regions[name] for name in left})
            return subprocess.run(command, check=False)

        in_order = list(named) if regions is not None else sorted(named, key=lambda name: self._image(name).name)
        return run_past_faults(start, {name: mask_file(self.output_dir, name) for name in in_order})

    def _image(self, name: str) -> Path:
        return self.images / f"{name}.nii.gz"

    def _window_mm(self) -> list[float]:
        """Return the extent of the network's window along the first axes of a scan; infinite where it sees all."""
        window = zip(self.settings["spacing"], self.settings["roi_size"], strict=True)
        return [mm * voxels if voxels > 0 else float("inf") for mm, voxels in window]


def image_name(image: Path) -> str:
    return image.name.removesuffix(".nii.gz")


def mask_file(output_dir: Path, name: str) -> Path:
    return output_dir / MASKS / f"{name}_seg.nii.gz"
