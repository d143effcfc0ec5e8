"""Regions of new scans, for a network that was trained on regions of interest."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsize.bundle.run.summary import RunSummary, inference_bundle
from medsize.bundle.segment_images import segment_readable_images
from medsize.checks.weights import check_weights
from medsize.data.data_list import middle_of_clicks, parse_data_list, write_data_list
from medsize.inference.locate import LOCATED_BY, Region, find_region, middle_of
from medsize.inference.new_scans import NewScans
from medsize.scans.scan_facts import image_place
from medsize.scans.scan_names import ScanNames, comparable_path
from medsize.sizes.table.size_table import SizeTable
from medsize.suggest import first_few

__all__ = ["WhereToLook", "coarse_run", "stated_regions", "write_regions"]

NO_REGION = "found neither a roi nor clicks for it. Add them."
STATE = "State its roi, or clicks: --data-list, --sizes."


def coarse_run(run: Path, locate_by: Path | None = None) -> Path | None:
    """
    Return the run on whole scans whose network located the scans that a run was trained on.

    Args:
        run: output folder of the run.
        locate_by: output folder of the run on whole scans. Default: the one that the run's data list names.

    Raises:
        ValueError: when there is no such folder.
    """
    if locate_by is None:
        data_list = RunSummary.read(run).data_list
        try:
            named = json.loads(Path(data_list or "").read_text()).get(LOCATED_BY)
        except (OSError, ValueError):  # the list has been moved
            named = None
        if named is None:
            return None
        locate_by = Path(named)
        if not locate_by.is_dir():
            raise ValueError(
                f"{data_list}: found {LOCATED_BY} {locate_by}, expected the folder of a run on whole scans. Name it: "
                "--locate-by FOLDER"
            )
    return locate_by


def stated_regions(data_list: Path | None, table: SizeTable | None, new: NewScans) -> dict[str, dict[str, Any]]:
    """
    Return the regions of interest that are stated, by the scan's path: a ``roi``, else the middle of the clicks.

    Args:
        data_list: data list with ``roi`` or ``clicks``.
        table: size table with a column ``roi_mm``, or columns of clicks.
        new: the scans.

    Raises:
        ValueError: when the data list is faulty, no item of it is of a scan, or one fits several.
    """
    regions: dict[str, dict[str, Any]] = {}
    for image, rows in table.rows_by_image.items() if table is not None else ():
        clicks = {f"{name} {row.number}": places for row in rows for name, places in row.clicks.items()}
        if roi := next((row.roi for row in rows if row.roi), None):
            regions[image] = dict(roi)
        elif middle := middle_of_clicks(clicks):
            regions[image] = {"center_mm": middle}
    if data_list is None:
        return regions
    listed = parse_data_list(data_list.read_bytes(), data_list)
    items = [*listed.training, *listed.validation]
    names = ScanNames(new.by_path)
    fitting = {item.image: names.fitting(item.image)[0] for item in items}
    if several := next((image for image, paths in fitting.items() if len(paths) > 1), None):
        raise ValueError(
            f"{data_list}: '{several}' fits {len(fitting[several])} scans, {first_few(fitting[several])}. Write the "
            "path of one."
        )
    if not any(fitting.values()):
        raise ValueError(
            f"{data_list}: no item is of a scan, expected their paths, but the first one is "
            f"'{items[0].image if items else None}'. Write the paths of the scans from their folder."
        )
    for item in items:
        for path in fitting[item.image]:
            if item.roi is not None:
                regions[comparable_path(path)] = item.roi.model_dump(exclude_none=True)
            elif middle := middle_of_clicks(item.clicks or {}, listed.click_space, listed.labels.get("0", "")):
                regions[comparable_path(path)] = {"center_mm": middle}
    return regions


@dataclass(frozen=True)
class WhereToLook:
    """Regions of interest of new scans: as stated, else as a run on whole scans finds them."""

    stated: Mapping[str, dict[str, Any]]
    """By the scan's path, see :func:`stated_regions`."""
    coarse: Path | None = None
    """Output folder of the run on whole scans."""

    @property
    def knows_any(self) -> bool:
        """True if a region is stated, or can be found."""
        return bool(self.stated) or self.coarse is not None

    def regions(
        self,
        images: Mapping[str, Path],
        paths: Mapping[str, str],
        window_mm: Sequence[float],
        report: Callable[[str], None],
        orientation: str = "",
    ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """
        Return the region of each scan by its name, and the reason why another one has none.

        Args:
            images: NIfTI files of the scans, by name.
            paths: paths of the scans, by name.
            window_mm: extent along the first axes of what the closer network sees. A scan that fits needs no region.
            report: function that gets the command of MONAI, and a line for each scan that is seen as a whole.
            orientation: codes of the axes that the closer network sees; empty: as scans are stored.

        Raises:
            ValueError: when the run on whole scans is not finished or was cropped to regions of interest.
            subprocess.CalledProcessError: when its inference fails, and no region is stated.
        """
        keys = {name: comparable_path(paths[name]) for name in images}
        regions = {name: dict(self.stated[key]) for name, key in keys.items() if key in self.stated}
        others = {name: file for name, file in images.items() if name not in regions}
        if self.coarse is None or not others:
            return regions, dict.fromkeys(others, NO_REGION)
        reasons: dict[str, str] = {}
        try:
            found = _located(self.coarse, others, report)
        except subprocess.CalledProcessError:
            if not regions:
                raise
            failed = f"{self.coarse}, which locates the structures, failed; its message is above. Mend it. Or: {STATE}"
            return regions, dict.fromkeys(others, failed)
        for name, file in others.items():
            if name not in found:
                reasons[name] = f"{self.coarse}, which locates the structures, stopped at this scan. {STATE}"
            elif (region := found[name]) is not None:
                regions[name] = {"center_mm": region.center_mm}
            elif all(
                mm <= seen for mm, seen in zip(image_place(file).turned(orientation).extent_mm, window_mm, strict=False)
            ):
                report(f"{name}: found no structure in it; the closer network sees all of it")
                regions[name] = {"center_mm": middle_of(file)}
            else:
                reasons[name] = f"{self.coarse}, which locates the structures, found none in this scan. {STATE}"
        return regions, reasons


def _located(run: Path, images: Mapping[str, Path], report: Callable[[str], None]) -> dict[str, Region | None]:
    """Return the region that a run finds in each scan, ``None`` if there is none; without those at which it stops."""
    bundle = inference_bundle(run, None, on_regions=", expected a run on whole scans to find them. Name another one.")
    check_weights(run, bundle)
    with tempfile.TemporaryDirectory() as folder:
        files = [str(file.resolve()) for file in images.values()]
        masks = segment_readable_images(run, bundle, files, Path(folder), report)
        return {name: find_region(mask) for name, mask in zip(images, masks, strict=True) if mask is not None}


def write_regions(file: Path, structures: list[str], regions: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the regions of converted scans as a data list."""
    items = [{"image": f"{name}.nii.gz", "roi": region} for name, region in regions.items()]
    write_data_list(file, ["background", *structures], items)
