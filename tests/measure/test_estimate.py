"""Sizes by what a reader draws."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from medsize.measure.estimate import estimate
from medsize.measure.geometry import (
    Absent,
    CannotTell,
    Click,
    Disc,
    Ellipse,
    Ellipses,
    Lines,
    Percent,
    PointCounts,
    SlicePercents,
)
from medsize.measure.shown_scan import ShownScan
from medsize.scans.find_scans import find_scans

RADII = (30.0, 20.0, 40.0)
VOLUME = 4 / 3 * math.pi * math.prod(RADII)
CENTRE = np.array([10.0, -20.0, 30.0])
X, Y, Z = np.eye(3) * RADII


def line(half: np.ndarray) -> tuple:
    return tuple((CENTRE - half).tolist()), tuple((CENTRE + half).tolist())


@pytest.fixture(scope="module", params=["RAS", "LPS", "PIR"])
def scan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ShownScan:
    """A scan of an ellipsoid, stored with its axes in several orders, slices of 5 mm."""
    folder = tmp_path_factory.mktemp("scan")
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[:3, 3] = CENTRE - [80, 80, 80]
    x, y, z = (np.arange(n) * s + o for n, s, o in zip((81, 81, 33), (2, 2, 5), affine[:3, 3], strict=True))
    grid = np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1)
    inside = (((grid - CENTRE) / RADII) ** 2).sum(axis=-1) < 1
    image = nibabel.Nifti1Image(inside.astype(np.int16), affine)
    target = nibabel.orientations.axcodes2ornt(request.param)
    stored = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), target))
    stored.header.set_xyzt_units("mm")
    nibabel.save(stored, folder / "scan.nii.gz")
    return ShownScan.read(find_scans(folder)[0])


def test_a_scan_is_shown_from_the_feet_with_the_back_below(scan: ShownScan) -> None:
    assert nibabel.aff2axcodes(scan.affine) == ("L", "P", "S")
    at = np.round(scan.indices(CENTRE)).astype(int)
    assert scan.voxels[tuple(at)] == 1
    assert scan.plane(2, at[2]).shape == (scan.shape[1], scan.shape[0])
    assert scan.plane(1, at[1])[scan.shape[2] - 1 - at[2], at[0]] == 1


def test_three_diameters_give_the_ellipsoid(scan: ShownScan) -> None:
    size = estimate(Lines(lines=[line(X), line(Y), line(Z)]), scan)
    assert size.kind == "volume_mm3"
    assert size.value == pytest.approx(VOLUME)
    assert size.low < VOLUME < size.high
    (start, end) = size.clicks[0]
    assert np.allclose(np.add(start, end) / 2, CENTRE)
    assert np.linalg.norm(np.subtract(start, end)) == pytest.approx(0.8 * 2 * RADII[2])


def test_fewer_diameters_have_wider_intervals(scan: ShownScan) -> None:
    sizes = [estimate(Lines(lines=[line(half) for half in halves]), scan) for halves in ([Z], [X, Y], [X, Y, Z])]
    widths = [size.high / size.low for size in sizes]
    assert widths == sorted(widths, reverse=True)


def test_two_ellipses_give_the_ellipsoid(scan: ShownScan) -> None:
    tilted = (Y + Z) / math.sqrt(2), (Y - Z) / math.sqrt(2)  # conjugate halves of the section across the first axis
    one = Ellipse(long=line(X), short=line(Y))
    for other in (Ellipse(long=line(Z), short=line(Y)), Ellipse(long=line(tilted[0]), short=line(tilted[1]))):
        assert estimate(Ellipses(ellipses=[one, other]), scan).value == pytest.approx(VOLUME)


@pytest.mark.parametrize("every", [1, 2])
def test_points_count_the_volume(scan: ShownScan, every: int) -> None:
    step = 6.0
    along = scan.slice_axis
    in_plane = [axis for axis in range(3) if axis != along]
    points = []
    for at in range(0, scan.shape[along], every):
        for u in np.arange(1.0, scan.shape[in_plane[0]], step / scan.spacing[in_plane[0]]):
            for v in np.arange(1.0, scan.shape[in_plane[1]], step / scan.spacing[in_plane[1]]):
                index = np.zeros(3)
                index[[along, *in_plane]] = at, u, v
                place = scan.affine[:3, :3] @ index + scan.affine[:3, 3]
                if (((place - CENTRE) / RADII) ** 2).sum() < 1:
                    points.append(tuple(place.tolist()))
    size = estimate(PointCounts(step=step, every=every, points=points), scan)
    assert size.low <= VOLUME <= size.high
    assert size.high < 1.7 * size.low


def test_points_on_slices_between_are_refused(scan: ShownScan) -> None:
    step = scan.affine[:3, scan.slice_axis]
    points = [tuple((CENTRE + n * step).tolist()) for n in (0, 1)]
    with pytest.raises(ValueError, match="expected all on one slice in 2"):
        estimate(PointCounts(step=5, every=2, points=points), scan)


def on_slices(scan: ShownScan, *slices: float, percent: float = 1) -> SlicePercents:
    """Discs in the middle of slices."""
    index = (np.array(scan.shape) - 1) / 2
    places = []
    for number in slices:
        index[scan.slice_axis] = number
        places.append(tuple((scan.affine @ [*index, 1])[:3].tolist()))
    return SlicePercents(every=1, discs=[Disc(percent=percent, at=place) for place in places])


def test_a_slice_left_out_between_others_is_told(scan: ShownScan) -> None:
    assert estimate(on_slices(scan, 3, 4, 6), scan).detail == "discs on 3 slices, none on slice 6 between them"
    points = PointCounts(step=5, every=2, points=[disc.at for disc in on_slices(scan, 1, 7).discs])
    assert estimate(points, scan).detail == "2 points on 2 slices, none on slices 4, 6 between them"


def test_no_volume_exceeds_the_field_of_view(scan: ShownScan) -> None:
    count = scan.shape[scan.slice_axis]
    whole = scan.voxels.size * float(np.prod(scan.spacing))
    size = estimate(on_slices(scan, *range(count), percent=100), scan)
    assert (size.value, size.high) == pytest.approx((whole, whole))
    discs = on_slices(scan, *range(0, count, 2), percent=100).discs  # they stand for one slice more than there are
    with pytest.raises(ValueError, match=r"found a volume of .* mL, expected at most the scan's"):
        estimate(SlicePercents(every=2, discs=discs), scan)
    with pytest.raises(ValueError, match=f"found one slice in {count + 1}, expected one in {count} at most"):
        estimate(SlicePercents(every=count + 1, discs=discs[:1]), scan)


def test_what_no_page_draws_is_refused(scan: ShownScan, picture: ShownScan) -> None:
    with pytest.raises(ValueError, match="past the first or last slice"):
        estimate(on_slices(scan, scan.shape[scan.slice_axis] - 0.1), scan)
    with pytest.raises(ValueError, match=r"found 1e-300 %, expected 0\.01 % at least"):
        estimate(on_slices(scan, 3, percent=1e-300), scan)
    with pytest.raises(ValueError, match=r"found 0\.001 %, expected 0\.01 % at least"):
        estimate(Percent(percent=0.001, at=(0, 0, 0)), picture)


def test_a_click_absent_and_cannot_tell(scan: ShownScan) -> None:
    assert estimate(Click(at=tuple(CENTRE)), scan).clicks == (tuple(CENTRE),)
    assert estimate(Absent(), scan).high == 0
    assert estimate(CannotTell(), scan).kind == "none"


@pytest.mark.parametrize("every", [1, 3])
def test_percentages_of_slices_give_the_volume(scan: ShownScan, every: int) -> None:
    along = scan.slice_axis
    parts = (scan.voxels > 0).mean(axis=tuple(axis for axis in range(3) if axis != along))
    discs = [
        Disc(percent=100 * parts[at], at=tuple((scan.affine @ [*at * np.eye(3)[along], 1])[:3].tolist()))
        for at in range(1, scan.shape[along], every)
        if parts[at]
    ]
    size = estimate(SlicePercents(every=every, discs=discs), scan)
    assert size.value == pytest.approx(VOLUME, rel=0.03)
    assert size.low <= 0.7 * size.value
    assert size.high >= 1.4 * size.value
    assert (size.high / size.low == pytest.approx(2)) == (
        every == 1
    )  # no slices in between, and the reader's error alone
    assert size.detail == f"discs on {len(discs)} slices"
    assert size.clicks == ()


def test_percentages_that_are_not_of_a_slice_each_are_refused(scan: ShownScan, picture: ShownScan) -> None:
    step = scan.affine[:3, scan.slice_axis]
    here, next_one = (Disc(percent=5, at=tuple((CENTRE + move).tolist())) for move in (0 * X, step))
    with pytest.raises(ValueError, match="percentage without a slice"):
        estimate(Percent(percent=12, at=tuple(CENTRE)), scan)
    with pytest.raises(ValueError, match="expected all on one slice in 2"):
        estimate(SlicePercents(every=2, discs=[here, next_one]), scan)
    with pytest.raises(ValueError, match="two discs on one slice"):
        estimate(SlicePercents(every=1, discs=[here, here]), scan)
    with pytest.raises(ValueError, match="percentages of slices on a picture"):
        estimate(SlicePercents(every=1, discs=[Disc(percent=5, at=(-1, -1, 0))]), picture)


def test_a_place_outside_is_refused(scan: ShownScan) -> None:
    with pytest.raises(ValueError, match="outside of the scan"):
        estimate(Click(at=(1000.0, 0.0, 0.0)), scan)


def test_a_diameter_of_0_is_refused(scan: ShownScan) -> None:
    with pytest.raises(ValueError, match="diameter of 0"):
        estimate(Lines(lines=[line(0 * X)]), scan)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> ShownScan:
    folder = tmp_path_factory.mktemp("picture")
    nibabel.save(nibabel.Nifti1Image(np.zeros((100, 50, 1), np.uint8), np.diag([-0.5, -0.5, 1, 1])), folder / "a.nii")
    return ShownScan.read(find_scans(folder)[0])


def test_sizes_of_pictures_are_parts_of_them(picture: ShownScan) -> None:
    assert picture.is_picture
    ellipse = Ellipse(long=((-15, -10, 0), (-35, -10, 0)), short=((-25, -5, 0), (-25, -15, 0)))
    part = math.pi * 10 * 5 / (50 * 25)
    for geometry in (Ellipses(ellipses=[ellipse]), Lines(lines=[ellipse.long, ellipse.short])):
        size = estimate(geometry, picture)
        assert size.kind == "fraction"
        assert size.value == pytest.approx(part)
        assert size.low < part <= size.high
    points = [(-x, -y, 0.0) for x in np.arange(0.2, 50, 1) for y in np.arange(0.2, 25, 1)]
    inside = [p for p in points if ((p[0] + 25) / 10) ** 2 + ((p[1] + 10) / 5) ** 2 < 1]
    counted = estimate(PointCounts(step=1, every=1, points=inside), picture)
    assert counted.low < part < counted.high
    assert estimate(Percent(percent=12, at=(0, 0, 0)), picture).value == pytest.approx(0.12)
    with pytest.raises(ValueError, match="three diameters on a picture"):
        estimate(Lines(lines=[ellipse.long] * 3), picture)


@pytest.mark.parametrize(("resolution", "unit"), [((10.0, 10.0), "mm"), (None, "px")])
def test_pixels_of_exactly_one_mm_are_not_those_of_unknown_size(
    tmp_path: Path, resolution: tuple[float, float] | None, unit: str
) -> None:
    stated = {} if resolution is None else {"resolution": resolution, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "picture.tif", np.zeros((40, 60), np.uint8), **stated)
    shown = ShownScan.read(find_scans(tmp_path)[0])
    assert shown.length_unit == unit
    assert shown.slice_area == pytest.approx(40 * 60)
