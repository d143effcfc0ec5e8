"""Image files keep voxels and place, lose what else their headers held, and are refused by name if faulty."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from medsize.files import OutputError
from medsize.scans.find_scans import find_scans, read_scan
from medsize.scans.image_file import write_nifti
from medsize.scans.scan_facts import image_facts
from medsize.scans.space.scan_header import scan_header
from medsize.sizes.mask_sizes import describe_mask

SECRET = "Doe Jane 4711"
DIRECTION = (0.0, 1.0, 0.0, -0.8, 0.0, 0.6, 0.6, 0.0, 0.8)
ENDINGS = ("nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd")


@pytest.fixture
def volume() -> SimpleITK.Image:
    """An oblique volume with a name in its header."""
    array = np.random.default_rng(0).normal(size=(4, 12, 10)).astype(np.float32)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((0.75, 1.5, 4.0))
    image.SetOrigin((-7.0, 8.0, 9.0))
    image.SetDirection(DIRECTION)
    for key in ("ITK_FileNotes", "descrip", "PatientName"):
        image.SetMetaData(key, SECRET)
    return image


def read(folder: Path) -> SimpleITK.Image:
    (scan,) = find_scans(folder)
    return read_scan(scan)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_each_format_keeps_voxels_and_place(
    volume: SimpleITK.Image, tmp_path: Path, ending: str, dtype: np.dtype
) -> None:
    array = np.random.default_rng(0).integers(0, 200, (4, 12, 10)).astype(dtype)
    written = SimpleITK.GetImageFromArray(array)
    written.CopyInformation(volume)
    folder = tmp_path / "Übersicht 1"
    folder.mkdir()
    SimpleITK.WriteImage(written, folder / f"scan.{ending}")
    image = read(folder)
    assert SimpleITK.GetArrayFromImage(image).dtype == dtype
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), array)
    np.testing.assert_allclose(image.GetSpacing(), volume.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), volume.GetOrigin(), rtol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), DIRECTION, atol=1e-6)


def test_scaled_nifti_has_its_real_intensities(tmp_path: Path) -> None:
    stored = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([2.0, 2.0, 5.0, 1.0]))
    stored.header.set_slope_inter(0.5, -10)
    nibabel.save(stored, tmp_path / "scan.nii.gz")
    expected = nibabel.load(tmp_path / "scan.nii.gz").get_fdata()
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(read(tmp_path)).T, expected, rtol=1e-6)


def test_a_fourth_axis_of_one_voxel_is_dropped(tmp_path: Path) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.ones((2, 3, 4, 1), dtype=np.float32), np.diag([2, 3, 5, 1])), tmp_path / "s.nii"
    )
    image = read(tmp_path)
    assert (image.GetSize(), image.GetSpacing()) == ((2, 3, 4), (2, 3, 5))


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_else_of_the_header_is_written(volume: SimpleITK.Image, tmp_path: Path, ending: str) -> None:
    SimpleITK.WriteImage(volume, tmp_path / f"scan.{ending}")
    content = (tmp_path / f"scan.{ending}").read_bytes()
    assert SECRET.encode() in (gzip.decompress(content) if ending.endswith("gz") else content)
    write_nifti(read(tmp_path), tmp_path / "out.nii")
    write_nifti(volume, tmp_path / "direct.nii")
    for file in ("out.nii", "direct.nii"):
        assert b"Doe" not in (tmp_path / file).read_bytes()


def test_written_nifti_lies_where_the_image_lay(volume: SimpleITK.Image, tmp_path: Path) -> None:
    write_nifti(volume, tmp_path / "out.nii.gz")
    affine = nibabel.load(tmp_path / "out.nii.gz").affine
    corner = np.array(volume.TransformIndexToPhysicalPoint((3, 4, 2))) * [-1, -1, 1]
    np.testing.assert_allclose((affine @ [3, 4, 2, 1])[:3], corner, atol=1e-4)


def test_what_cannot_be_written_leaves_nothing(volume: SimpleITK.Image, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"scan.unknown: it cannot be written"):
        write_nifti(volume, tmp_path / "scan.unknown")
    assert list(tmp_path.iterdir()) == []


def save_nifti(file: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    nibabel.save(nibabel.Nifti1Image(array, np.diag([2.0, 3.0, 5.0, 1.0]) if affine is None else affine), file)


def patched(file: Path, at: int, layout: str, *values: float) -> None:
    """A NIfTI whose header holds other values at some byte."""
    save_nifti(file, np.zeros((10, 12, 4), dtype=np.float32))
    content = bytearray(file.read_bytes())
    struct.pack_into(layout, content, at, *values)
    file.write_bytes(content)


def cut(ending: str, compressed: bool, count: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        noise = SimpleITK.GetImageFromArray(np.random.default_rng(0).normal(size=(4, 12, 10)).astype(np.float32))
        file = folder / f"scan.{ending}"
        SimpleITK.WriteImage(noise, file, compressed)
        file.write_bytes(file.read_bytes()[:-count])

    return damage


def edited(ending: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        image = SimpleITK.GetImageFromArray(np.zeros((4, 12, 10), dtype=np.float32))
        file = folder / f"scan.{ending}"
        SimpleITK.WriteImage(image, file)
        assert old in file.read_bytes()
        file.write_bytes(file.read_bytes().replace(old, new))

    return damage


def with_array(array: np.ndarray, ending: str = "nrrd", is_vector: bool = False) -> Callable[[Path], None]:
    return lambda folder: SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, is_vector), folder / f"scan.{ending}")


def flip_compressed_byte(folder: Path) -> None:
    save_nifti(folder / "s.nii.gz", np.random.default_rng(0).normal(size=(10, 12, 4)).astype(np.float32))
    content = bytearray((folder / "s.nii.gz").read_bytes())
    content[1000] ^= 1
    (folder / "s.nii.gz").write_bytes(content)


SHEARED = np.array([[2.0, 1.0, 0, 0], [0, 3, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
NAN = np.zeros((4, 12, 10), dtype=np.float32)
NAN[1, 2, 3] = np.nan
FAULTS = [
    (lambda f: (f / "s.nii").write_bytes(b""), "s.nii: it cannot be read as NIfTI"),
    (lambda f: (f / "s.nii.gz").write_bytes(gzip.compress(b"no scan" * 99)), "s.nii.gz: it cannot be read as NIfTI"),
    (lambda f: (f / "s.mha").write_bytes(b""), "s.mha: it cannot be read"),
    (lambda f: (f / "s.nrrd").write_bytes(b"no scan" * 99), "s.nrrd: it cannot be read"),
    (lambda f: (f / "s.nrrd").symlink_to(f / "nowhere"), "s.nrrd: it is a link to nowhere"),
    (cut("nii", False, 300), "scan.nii: its voxels cannot be read"),
    (cut("nii.gz", True, 300), "scan.nii.gz: its voxels cannot be read"),
    (cut("nii.gz", True, 4), "scan.nii.gz: its voxels cannot be read"),
    (flip_compressed_byte, "s.nii.gz: its voxels cannot be read"),
    (cut("nrrd", False, 300), "scan.nrrd: its voxels cannot be read"),
    (cut("nrrd", True, 300), "scan.nrrd: its voxels cannot be read"),
    (cut("mha", False, 300), "scan.mha: its voxels cannot be read"),
    (cut("mha", True, 300), "scan.mha: its voxels cannot be read"),
    (lambda f: patched(f / "s.nii", 40, "<4h", 3, 32767, 32767, 32767), "32767 × 32767 × 32767 voxels, 1.31e+05 GiB"),
    (lambda f: patched(f / "s.nii", 40, "<4h", 3, -3, 12, 4), "s.nii: its header states [-3, 12, 4] voxels"),
    (
        edited("nrrd", b"sizes: 10 12 4", b"sizes: 99999 99999 999"),
        "99999 × 99999 × 999 voxels, 3.72e+04 GiB, expected",
    ),
    (edited("mha", b"DimSize = 10 12 4", b"DimSize = 99999 99999 999"), "99999 × 99999 × 999 voxels"),
    (
        lambda f: patched(f / "s.nii", 80, "<f", 0),
        "s.nii: its header states [10, 12, 4] voxels of [0.0, 3.0, 5.0] mm, expected",
    ),
    (lambda f: patched(f / "s.nii", 80, "<f", float("nan")), "voxels of [nan, 3.0, 5.0] mm, expected positive numbers"),
    (lambda f: patched(f / "s.nii", 252, "<2h", 0, 0), "s.nii: the image states no spacing"),
    (
        edited("mha", b"ElementSpacing = 1 1 1", b"ElementSpacing = 0 1 1"),
        "scan.mha: its spacing is (0.0, 1.0, 1.0) mm",
    ),
    (edited("mha", b"NDims = 3", b"NDims = 1000"), "scan.mha: its header states NDims = '1000', expected 3"),
    (edited("mha", b"DimSize = 10 12 4", b"DimSize = 10 12"), "states dimsize = '10 12', expected 3 numbers"),
    (edited("mha", b"ElementType = MET_FLOAT\n", b""), "scan.mha: its header states no elementtype"),
    (lambda f: patched(f / "s.nii", 40, "<h", 1), "s.nii: it has 1 axes, (10,), expected 3"),
    (edited("nrrd", b"(1,0,0)", b"(0,0,0)"), "scan.nrrd: its spacing is (0.0, 1.0, 1.0) mm, expected positive"),
    (lambda f: save_nifti(f / "s.nii", NAN.T), "s.nii: 1 intensities are NaN or infinite"),
    (with_array(NAN), "scan.nrrd: 1 intensities are NaN or infinite"),
    (lambda f: save_nifti(f / "s.nii", NAN.T * 0, SHEARED), "s.nii: its axes are"),
    (
        lambda f: save_nifti(f / "s.nii", np.zeros((5, 6, 7, 2), np.float32)),
        "s.nii: it has 4 axes, (5, 6, 7, 2), expected 3",
    ),
    (with_array(np.zeros((5, 6), np.float32)), "scan.nrrd: it has 2 axes, (6, 5), expected 3"),
    (with_array(np.zeros((4, 5, 6, 3), np.uint8), is_vector=True), "scan.nrrd: it has 3 values per voxel"),
    (with_array(np.zeros((4, 5, 6), np.complex64)), "scan.nrrd: it has 2 values per voxel (complex of 32-bit float)"),
    (
        lambda f: save_nifti(f / "s.nii", np.zeros((4, 5, 6), np.complex64)),
        "s.nii: its voxels are of the type complex64",
    ),
    (
        edited("mhd", b"scan.raw", b"/etc/passwd"),
        "scan.mhd: it takes its voxels from '/etc/passwd', expected a file of its",
    ),
    (edited("mhd", b"scan.raw", b"../scan.raw"), "scan.mhd: it takes its voxels from '../scan.raw'"),
    (edited("mhd", b"scan.raw", b"LIST"), "scan.mhd: it takes its voxels from 'LIST'"),
    (edited("nhdr", b"scan.raw", b"../scan.raw"), "scan.nhdr: it takes its voxels from '../scan.raw'"),
    (
        edited("nrrd", b"encoding: raw\n", b"encoding: raw\ndata file: ../../x\n"),
        "scan.nrrd: it takes its voxels from '../../x'",
    ),
]


@pytest.mark.parametrize(("damage", "message"), FAULTS, ids=[message[:50] for _, message in FAULTS])
def test_each_fault_of_an_image_file_is_named(tmp_path: Path, damage: Callable, message: str) -> None:
    damage(tmp_path)
    with pytest.raises(ValueError, match=str(tmp_path)) as caught:
        read(tmp_path)
    assert message in str(caught.value)


def nrrd(file: Path, *fields: str) -> Path:
    head = ["NRRD0004", "type: uchar", "dimension: 3", "sizes: 2 2 2", *fields, "encoding: raw", "endian: little"]
    file.write_bytes(("\n".join(head) + "\n\n").encode() + bytes(8))
    return file


def meta_image(file: Path, *fields: str) -> Path:
    head = ["ObjectType = Image", "NDims = 3", "DimSize = 2 2 2", *fields, "ElementType = MET_UCHAR"]
    file.write_bytes(("\n".join([*head, "ElementDataFile = LOCAL"]) + "\n").encode() + bytes(8))
    return file


DIRECTIONS = ("space: left-posterior-superior", "space directions: (2,0,0) (0,2,0) (0,0,3)")


@pytest.mark.parametrize(
    ("write", "fields", "message"),
    [
        (nrrd, (), "states no spacing, expected 'space directions' or 'spacings'"),
        (nrrd, ("spacings: nan nan nan",), "states the spacing 'nan nan nan'"),
        (nrrd, ("spacings: 2 2 3", 'units: "cm" "cm" "cm"'), "states the spacing in cm, expected mm"),
        (nrrd, (*DIRECTIONS, 'space units: "um" "um" "um"'), "states the spacing in um, expected mm"),
        (meta_image, (), "states no spacing, expected 'ElementSpacing'"),
        (meta_image, ("ElementSpacing = 2 2 nan",), "states the spacing '2 2 nan'"),
        (meta_image, ("ElementSpacing = 2 2 3", "DistanceUnits = um"), "states the spacing in um"),
    ],
)
def test_a_spacing_that_is_missing_or_not_in_mm_is_refused(
    tmp_path: Path, write: Callable, fields: tuple[str, ...], message: str
) -> None:
    write(tmp_path / f"scan.{'nrrd' if write is nrrd else 'mha'}", *fields)
    with pytest.raises(ValueError, match=r"scan\.(nrrd|mha): its header ") as caught:
        read(tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("write", "fields"),
    [
        (nrrd, ("spacings: 2 2 3",)),
        (nrrd, (*DIRECTIONS, 'space units: "mm" "mm" "mm"')),
        (meta_image, ("ElementSpacing = 2 2 3", "DistanceUnits = mm")),
        (meta_image, ("ElementSize = 2 2 3",)),
    ],
)
def test_a_spacing_in_mm_is_read(tmp_path: Path, write: Callable, fields: tuple[str, ...]) -> None:
    write(tmp_path / f"scan.{'nrrd' if write is nrrd else 'mha'}", *fields)
    assert read(tmp_path).GetSpacing() == (2, 2, 3)


def test_one_geometry_counts_where_sform_and_pixdim_disagree(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
    image.set_qform(np.diag([0.6, 0.6, 0.6, 1]), code=1)
    image.set_sform(np.diag([0.8, 0.8, 0.8, 1]), code=1)
    nibabel.save(image, tmp_path / "scan.nii.gz")
    (scan,) = find_scans(tmp_path)
    assert "its sform states a spacing of 0.8 × 0.8 × 0.8 mm, its pixdim 0.6 × 0.6 × 0.6 mm" in scan.note
    facts = image_facts(scan.files[0])
    spacings = read_scan(scan).GetSpacing(), scan_header(scan.files[0])[0], facts.zooms
    assert all(spacing == pytest.approx([0.8] * 3) for spacing in spacings)
    assert facts.voxel_mm3 == pytest.approx(0.512)
    assert describe_mask(scan.files[0], ("background", "all"))["size"]["all"] == pytest.approx(64 * 0.512)
    assert facts.doubts == (scan.note,)


def test_places_that_sform_and_qform_state_are_compared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for shift in (5, 100):
        image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
        image.set_sform(np.eye(4), code=1)
        image.set_qform(np.array([[1, 0, 0, shift], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), code=1)
        image.header["pixdim"][1:4] = 0 if shift == 100 else 1
        (tmp_path / f"{shift}").mkdir()
        nibabel.save(image, tmp_path / f"{shift}" / "scan.nii.gz")
    near, far = (image_facts(tmp_path / f"{shift}" / "scan.nii.gz") for shift in (5, 100))
    assert near.doubts == ()
    assert "its sform and qform place its middle 100 mm apart. The sform is used." in " ".join(far.doubts)
    assert "pixdim" not in capfd.readouterr().err  # which nibabel says at every look at a pixdim of 0


def test_more_axes_than_simpleitk_holds_are_named(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 1, 2, 2), np.float32), np.eye(4)), tmp_path / "field.nii.gz")
    with pytest.raises(ValueError, match=r"field.nii.gz: it has 6 axes, \(4, 4, 4, 1, 2, 2\), expected 3"):
        read(tmp_path)


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
def test_names_that_are_no_text_are_read_and_written(volume: SimpleITK.Image, tmp_path: Path, ending: str) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    file = folder / os.fsdecode(f"\u00e9.{ending}".encode("latin-1"))
    if ending == "nrrd":
        SimpleITK.WriteImage(volume, tmp_path / "a.nrrd")
        (tmp_path / "a.nrrd").rename(file)
    else:
        write_nifti(volume, file)
    assert read(folder).GetSpacing() == pytest.approx((0.75, 1.5, 4.0))


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_disk_that_is_full_leaves_nothing(volume: SimpleITK.Image, tmp_path: Path, ending: str) -> None:
    resource = pytest.importorskip("resource")
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, allowed[1]))  # a limit on each file stands for it
    try:
        with pytest.raises(OutputError, match=rf"scan.{ending}: it cannot be written"):
            write_nifti(volume, tmp_path / f"scan.{ending}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert not list(tmp_path.iterdir())
