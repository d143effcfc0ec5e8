"""The run of MONAI's inference on converted scans."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medsize.bundle.run.command import as_typed, run_command
from medsize.bundle.run.folder import INFERENCE, LOG, MASKS
from medsize.bundle.run.inference_settings import inference_settings, own_weights
from medsize.bundle.segment_images import is_whole, run_inference, run_past_faults
from medsize.inference.output_folder import REGIONS, OutputFolder, mask_file
from medsize.inference.run_network import RunNetwork
from medsize.inference.where_to_look import WhereToLook, write_regions
from medsize.scans.scan import FoundScan

__all__ = ["Segmentation"]


@dataclass(frozen=True)
class Segmentation:
    """Network of a run, and where its output goes."""

    run: Path
    bundle: Path
    output: OutputFolder
    report: Callable[[str], None]
    """Function that gets the commands of MONAI that are run."""
    look: WhereToLook | None = None
    """Regions of interest, for a network that was trained on them."""

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The run's ``inference.json``."""
        return inference_settings(self.run)

    @property
    def structures(self) -> list[str]:
        """Names of the classes 1, 2, …."""
        structures: list[str] = self.settings["structures"]
        return structures

    @cached_property
    def network(self) -> RunNetwork:
        """The network in this process, for pictures that are segmented row by row."""
        return RunNetwork.read(self.run, self.bundle)

    def segment(self, named: Mapping[str, FoundScan], paths: Mapping[str, str]) -> list[str]:
        """
        Segment converted scans, those that are not finished; a network that was trained on regions sees these alone.

        Args:
            named: the scans by name.
            paths: their paths, as regions are stated for them.

        Returns:
            the problems of scans that have no mask.

        Raises:
            ValueError: when no scan has a region.
            subprocess.CalledProcessError: when the inference fails for another reason than a single scan.
        """
        if not named:
            return []
        regions, reasons = None, dict[str, str]()
        if self.look is not None:
            images = {name: self._image(name) for name in named}
            regions, reasons = self.look.regions(
                images, paths, self._window_mm(), self.report, self.settings.get("orientation", "")
            )
            if not regions and not any(self.output.masks.glob("*")):
                raise ValueError("\n".join(["there is no scan with a region to look at.", *_told(named, reasons)]))
        for name in reasons:
            self._image(name).unlink()
        if set(reasons) == set(named):
            return _told(named, reasons)
        stopped = self._infer({name: scan for name, scan in named.items() if name not in reasons}, regions)
        reasons |= dict.fromkeys(stopped, "the inference stopped at this scan; its message is above. It was left out.")
        self.output.keep(name for name in named if name not in reasons)
        return _told(named, reasons)

    def _infer(self, named: Mapping[str, FoundScan], regions: Mapping[str, Mapping[str, Any]] | None) -> list[str]:
        """Run the inference, and again behind a scan at which it stops; return the names of these."""
        unfinished = self.output.unfinished.resolve()
        listed = unfinished / REGIONS
        configs: list[str | Path] = ["inference.yaml", self.run / INFERENCE]
        options = ["--dataset_dir", str(unfinished / "images"), "--output_dir", str(unfinished / MASKS)]
        options += own_weights(self.run)
        if regions is not None:
            configs.append("inference_roi.yaml")
            options += ["--data_list", str(listed)]
        command = run_command(self.bundle, configs, options)
        self.report(as_typed(command))

        def start(left: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
            behind = [name for name in named if name not in left]
            self.output.keep([name for name in behind if is_whole(mask_file(unfinished, name))])
            for name in (name for name in behind if self._image(name).exists()):
                self.report(f"the inference stopped at {named[name].source}: it is run again without that scan")
                self._image(name).unlink()
            if regions is not None:
                write_regions(listed, self.structures, {name: regions[name] for name in left})
            return run_inference(command, self.output.folder / LOG, self.report, pass_fds=[self.output.lock])

        in_order = list(named) if regions is not None else sorted(named, key=lambda name: self._image(name).name)
        return run_past_faults(start, {name: mask_file(unfinished, name) for name in in_order})

    def _image(self, name: str) -> Path:
        return self.output.unfinished / "images" / f"{name}.nii.gz"

    def _window_mm(self) -> list[float]:
        """Return the extent of the network's window along the first axes of a scan; infinite where it sees all."""
        window = zip(self.settings["spacing"], self.settings["roi_size"], strict=True)
        return [mm * voxels if voxels > 0 else float("inf") for mm, voxels in window]


def _told(named: Mapping[str, FoundScan], reasons: Mapping[str, str]) -> list[str]:
    return [f"{named[name].source}: {reason}" for name, reason in reasons.items()]
