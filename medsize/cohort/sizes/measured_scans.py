"""Scans of measurements: found by UIDs, then by names; and the places of measurements in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK

from medsize.cohort.find import CohortScan, owners_of
from medsize.files import encodable
from medsize.measurements.measurement import Measurement, Place, Readings
from medsize.measurements.outline import long_and_short, point_within
from medsize.scans.image_file import is_nifti
from medsize.scans.scan import ScanKind
from medsize.scans.scan_facts import UNREADABLE, image_place
from medsize.scans.scan_names import ScanNames
from medsize.scans.space.grid import Grid
from medsize.suggest import did_you_mean, first_few
from medsize.units import lps_to_ras

__all__ = ["MeasuredScans"]

EDGE = 1.0
"""Voxels beyond the scan at which a point still counts as within."""


@dataclass(frozen=True)
class MeasuredScans:
    """Scans of a folder that measurements may be of."""

    scans: Sequence[CohortScan]
    folder: Path

    def locate(self, measurements: Sequence[Measurement]) -> Readings:
        """
        Find the scan of each measurement, and its places there.

        Returns:
            the measurements with the name of their scan as ``image``, places in mm (points and lines alone), the
            diameters of outlines that state no size, and a structure from their file's name where they have none; and a
            problem for each other one.
        """
        readings = Readings()
        for measurement in measurements:
            try:
                scan, rest = self.scan_of(measurement)
                named = measurement if measurement.structure else replace(measurement, structure=rest)
                readings.measurements.append(self._located(named, scan))
            except ValueError as e:
                readings.problems.append(f"{measurement}: {e}")
        return readings

    def scan_of(self, measurement: Measurement) -> tuple[CohortScan, str]:
        """
        Return the scan that a measurement is of; and the words of its file's name beyond the scan's, if these tell it.

        It is that of the series that the measurement names, else of its frame of reference, else that of its name for
        the image, else that of its PatientID, else the one that the file lies beside or is named after. Names never
        overrule UIDs.

        Raises:
            ValueError: when no scan fits, or several do.
        """
        candidates, stated = list(self.scans), []
        if measurement.series:
            stated.append(f"of the series {first_few(measurement.series, 2)}")
            candidates = [scan for scan in self.scans if scan.scan.series in measurement.series]
        elif measurement.frame_of_reference:
            stated.append(f"in the frame of reference {measurement.frame_of_reference}")
            candidates = [s for s in self.scans if s.scan.frame_of_reference == measurement.frame_of_reference]
        if stated and not candidates:
            # Scans that were converted have no UIDs.
            candidates = [scan for scan in self.scans if not scan.scan.series]
            if not candidates:
                patient = [s.name for s in self.scans if s.scan.subject and s.scan.subject == measurement.subject]
                others = f" Of the same patient there is {first_few(patient)}." if patient else ""
                raise ValueError(f"it is {stated[0]}, which is not here.{others} Add that series, or leave this out.")
        if stated and len(candidates) == 1 and candidates[0].scan.series:
            return candidates[0], ""
        if measurement.image or measurement.subject:
            by_path = {scan.name: scan for scan in candidates}
            names = ScanNames({path: scan.scan for path, scan in by_path.items()})
            for name in filter(None, (measurement.image, measurement.subject)):
                if len(fitting := names.fitting(name)[0]) == 1:
                    return by_path[fitting[0]], ""
                stated.append(f"named '{name}'")
        if not measurement.image:
            owners, rest = owners_of(measurement.file, candidates, self.folder)
            if len(owners) == 1:
                return owners[0], rest
        fit = len(candidates) if len(candidates) < len(self.scans) else 0
        by = f" ({', '.join(stated)})" if stated else ""
        hint = did_you_mean(measurement.image, [scan.name for scan in self.scans]) if measurement.image else ""
        raise ValueError(
            f"found {fit or 'no'} scan{'s' if fit > 1 else ''} that it may be of{by}, expected one.{hint} Name the "
            "file like its scan, or put it beside the scan in a folder of its own."
        )

    def _located(self, measurement: Measurement, scan: CohortScan) -> Measurement:
        frames = (measurement.frame_of_reference, scan.scan.frame_of_reference)
        if all(frames) and frames[0] != frames[1]:
            raise ValueError(
                f"its places are in the frame of reference {frames[0]}, expected that of {scan.name}, {frames[1]}. "
                "Measure on this series, or leave the measurement out."
            )
        in_mm = [self._in_mm(place, scan) for place in measurement.places]
        self._check_within(in_mm, scan)
        outlines = [points for points in in_mm if len(points) > 2]
        diameters = measurement.diameters_mm
        if not measurement.has_size and len(outlines) == 1:
            diameters = long_and_short(outlines[0])
        number = measurement.slice
        if measurement.area_mm2 is not None and number is None and scan.scan.kind is not ScanKind.PICTURE:
            grid = self._grid(scan)
            if grid is None or grid.size[2] > 1:
                raise ValueError(f"it is an area in a slice of {scan.name}, but names no slice, expected one. Name it.")
            number = 0
        places = [Place((_rounded(point_within(p)),) if len(p) > 2 else tuple(map(_rounded, p))) for p in in_mm]
        return replace(measurement, image=scan.name, places=tuple(places), diameters_mm=diameters, slice=number)

    def _in_mm(self, place: Place, scan: CohortScan) -> list[tuple[float, ...]]:
        """Return the points of a place in scanner mm, RAS+."""
        if not place.instance:
            return list(place.points)
        if scan.scan.kind in (ScanKind.FILE, ScanKind.PICTURE):
            raise ValueError(
                f"its place is in columns and rows of a DICOM image, which {scan.name} is not. Use the DICOM series."
            )
        plane = self._planes_of(scan).get((place.instance, place.frame))
        if plane is None:
            raise ValueError(f"its place is in the image {place.instance}, which {scan.name} lacks. Add that image.")
        return [lps_to_ras(plane.point(column, row)) for column, row in place.points]

    def _planes_of(self, scan: CohortScan) -> dict:
        from medsize.scans.dicom.image_planes import image_planes

        if scan.name not in self._planes:
            self._planes[scan.name] = image_planes(scan.scan.files)
        return self._planes[scan.name]

    @cached_property
    def _planes(self) -> dict[str, dict]:
        return {}

    @cached_property
    def _grids(self) -> dict[str, Grid | None]:
        return {}

    def _grid(self, scan: CohortScan) -> Grid | None:
        if scan.name not in self._grids:
            self._grids[scan.name] = grid_of(scan)
        return self._grids[scan.name]

    def _check_within(self, in_mm: Sequence[Sequence[tuple[float, ...]]], scan: CohortScan) -> None:
        points = np.array([point for points in in_mm for point in points], dtype=float).reshape(-1, 3)
        grid = self._grid(scan)
        if grid is None or not len(points) or _within(points, grid):
            return
        shown = " ".join(f"{c:g}" for c in _rounded(points[0]))
        if _within(points * [-1, -1, 1], grid):
            raise ValueError(
                f"its place {shown} (RAS) is outside of {scan.name}, but within it if x and y have the other sign. "
                "Were its coordinates RAS and called LPS, or the other way round? Correct the file's coordinate system."
            )
        raise ValueError(
            f"its place {shown} mm (RAS) is outside of {scan.name}. Was it measured on another scan? Name that one."
        )


def grid_of(scan: CohortScan) -> Grid | None:
    """Return the grid of a scan by its header; ``None`` if that takes reading its voxels, or cannot be read."""
    if scan.scan.kind is not ScanKind.FILE:
        return scan.scan.grid
    file = scan.scan.files[0]
    try:
        if is_nifti(file):
            place = image_place(file)
            return None if place.faults else Grid.of_affine(place.shape, np.array(place.affine))
        reader = SimpleITK.ImageFileReader()
        with encodable(file) as path:
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
        if reader.GetDimension() != 3:
            return None
        return Grid(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())
    except (*UNREADABLE, RuntimeError):  # the conversion says so
        return None


def _within(points: np.ndarray, grid: Grid) -> bool:
    """Return whether points, mm in RAS+, are within a grid."""
    lps = points * [-1, -1, 1]
    voxels = (lps - np.array(grid.origin)) @ np.linalg.inv(grid.affine[:3, :3]).T
    return bool(((voxels >= -0.5 - EDGE) & (voxels <= np.array(grid.size) - 0.5 + EDGE)).all())


def _rounded(point: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(c), 2) + 0.0 for c in point)
