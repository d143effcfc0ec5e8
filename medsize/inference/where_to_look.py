"""Regions of new scans, for a network that was trained on regions of interest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medsize.bundle.run_summary import RunSummary, inference_bundle
from medsize.data.data_list import middle_of_clicks, parse_data_list, write_data_list
from medsize.inference.locate import LOCATED_BY, find_regions, middle_of
from medsize.sizes.size_table import SizeTable, comparable_path
from medsize.suggest import first_few

__all__ = ["coarse_run", "found_regions", "stated_regions", "write_regions"]


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


def stated_regions(
    data_list: Path | None, table: SizeTable | None, paths_of: Callable[[str], list[str]]
) -> dict[str, dict[str, Any]]:
    """
    Return the regions of interest that are stated, by the scan's path: a ``roi``, else the middle of the clicks.

    Args:
        data_list: data list with ``roi`` or ``clicks``.
        table: size table with a column ``roi_mm``, or columns of clicks.
        paths_of: function from a name in these to the paths of the scans that it fits.

    Raises:
        ValueError: when the data list is faulty, no item of it is of a scan, or one fits several.
    """
    regions: dict[str, dict[str, Any]] = {}
    for image, rows in table.rows_by_image.items() if table is not None else ():
        clicks = {f"{name} {row.number}": places for row in rows for name, places in row.clicks.items()}
        if roi := next((row.roi for row in rows if row.roi), None):
            regions[image] = dict(roi)
        elif any(clicks.values()):
            regions[image] = {"center_mm": middle_of_clicks(clicks)}
    if data_list is None:
        return regions
    listed = parse_data_list(data_list.read_bytes(), data_list)
    items = [*listed.training, *listed.validation]
    fitting = {item.image: paths_of(item.image) for item in items}
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
            elif item.clicks and any(item.clicks.values()):
                regions[comparable_path(path)] = {"center_mm": middle_of_clicks(item.clicks, listed.click_space)}
    return regions


def found_regions(run: Path, images: Mapping[str, Path], report: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """
    Return the regions that the network of a run on whole scans finds, by the scan's name.

    Args:
        run: output folder of that run.
        images: NIfTI files of the scans, by name.
        report: function that gets the command of MONAI, and a line for each scan in which nothing was found.

    Raises:
        ValueError: when the run is not finished or was cropped to regions of interest.
        subprocess.CalledProcessError: when the inference fails.
    """
    bundle = inference_bundle(run, None, on_regions=", expected a run on whole scans to find them. Name another one.")
    regions = find_regions(run, bundle, [str(file.resolve()) for file in images.values()], report)
    found: dict[str, dict[str, Any]] = {}
    for (name, file), region in zip(images.items(), regions, strict=True):
        if region is None:
            report(f"{name}: found no structure in the whole scan; its middle is looked at closer")
        found[name] = {"center_mm": middle_of(file) if region is None else region.center_mm}
    return found


def write_regions(file: Path, structures: list[str], regions: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the regions of converted scans as a data list."""
    items = [{"image": f"{name}.nii.gz", "roi": region} for name, region in regions.items()]
    write_data_list(file, ["background", *structures], items)
