"""A folder of pictures becomes a cohort of slices: channels and the size of pixels are decided for all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner, Result

from medsize.cli import app
from medsize.data import load_cohort

WIDTH, HEIGHT = 40, 30


def drawn(number: int) -> np.ndarray:
    """Return a mask, ``(H, W)``, larger in every further picture."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[5 : 10 + number, 8:20] = 1
    return mask


def shown(number: int, colour: bool = False) -> np.ndarray:
    rng = np.random.default_rng(number)
    grey = (rng.integers(0, 60, (HEIGHT, WIDTH)) + 120 * drawn(number)).astype(np.uint8)
    return np.stack([grey, grey // 2, grey // 3], axis=-1) if colour else grey


def save(file: Path, pixels: np.ndarray, **options: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)
    return file


def write_pictures(folder: Path, count: int = 6, masks: bool = True, colour: bool = False) -> list[str]:
    names = [f"p{number:02d}.png" for number in range(count)]
    for number, name in enumerate(names):
        save(folder / "images" / name, shown(number, colour))
        if masks:
            save(folder / "masks" / name, 255 * drawn(number))
    return names


def write_table(file: Path, header: str, rows: list[str]) -> Path:
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def init(folder: Path, *options: object) -> Result:
    arguments = ["init", str(folder / "pictures"), "--output", str(folder / "out"), *map(str, options)]
    return CliRunner(env={"COLUMNS": "400"}).invoke(app, arguments)


def prepared(folder: Path, *options: object) -> tuple[dict[str, Any], str]:
    """Return the data list, and what was said."""
    result = init(folder, *options)
    assert result.exit_code == 0, result.output
    return json.loads((folder / "out" / "datalist.json").read_text()), result.output


def written(folder: Path, content: dict[str, Any], key: str = "image") -> list[Any]:
    return [nibabel.load(folder / "out" / item[key]) for item in content["training"]]


def test_fractions_of_pictures_without_a_scale_are_areas_in_pixels(tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "pictures", masks=False)
    rows = [f"{name},{2 + number} %" for number, name in enumerate(names)]
    table = write_table(tmp_path / "sizes.csv", "image,lesion fraction", rows)
    content, said = prepared(tmp_path, "--sizes", table)
    assert "in grey, 1 channel; the size of a pixel is not known: lengths and areas are in pixels (px)" in said
    assert content["length_unit"] == "px"
    areas = sorted(item["slice_size"]["lesion"][0] for item in content["training"])
    assert areas == pytest.approx([(2 + number) / 100 * WIDTH * HEIGHT for number in range(6)])
    for image in written(tmp_path, content):
        assert image.shape == (WIDTH, HEIGHT, 1)
        assert image.header.get_xyzt_units()[0] == "unknown"
    cohort = load_cohort(tmp_path / "out" / "datalist.json", tmp_path / "out")
    assert cohort.length_unit == "px"
    overlay = (tmp_path / "out" / "cohort.yaml").read_text()
    assert "train.yaml of size_seg_2d" in overlay
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Areas in px" in page
    assert "Parts of the whole picture in percent" in page
    assert " mL" not in page


def test_fractions_and_presence_need_no_names_of_their_own_and_the_output_is_beside_the_folder(tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "pictures", masks=False)
    rows = [f"{name},0.{number}1,0.2,0.01" for number, name in enumerate(names)]
    table = write_table(tmp_path / "sizes.csv", "image,cat,dog,ignored", rows)
    arguments = ["init", str(tmp_path / "pictures"), "--sizes", str(table)]
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "'cat' (B), 'dog' (C) say no unit, and were read as fractions of the pictures" in result.output
    content = json.loads((tmp_path / "pictures_prepared" / "datalist.json").read_text())
    assert list(content["labels"].values()) == ["background", "cat", "dog"]
    assert {item["slice_size"]["dog"][0] for item in content["training"]} == {0.2 * WIDTH * HEIGHT}
    write_table(
        table, "image,classes", [f"{name},{'cat; dog' if number % 2 else 'dog'}" for number, name in enumerate(names)]
    )
    content, _ = prepared(tmp_path, "--sizes", table)
    assert (
        sorted(str(item["slice_size"]["cat"][0]) for item in content["training"]) == ["0.0"] * 3 + ["[1.2, 1200.0]"] * 3
    )
    load_cohort(tmp_path / "out" / "datalist.json", tmp_path / "out")


def test_masks_of_pictures_are_measured_by_the_pixels_that_are_stated(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures")
    content, said = prepared(tmp_path, "--pixel-mm", 0.5)
    assert "pixels of 0.5 mm" in said
    assert "length_unit" not in content
    assert list(content["labels"].values()) == ["background", "structure_1"]
    areas = sorted(item["slice_size"]["structure_1"][0] for item in content["training"])
    assert areas == pytest.approx([0.25 * drawn(number).sum() for number in range(6)])
    images, masks = written(tmp_path, content), written(tmp_path, content, "label")
    assert all(image.header.get_zooms()[:2] == (0.5, 0.5) for image in images)
    for image, mask in zip(images, masks, strict=True):
        assert np.array_equal(np.asarray(image.dataobj) >= 120, np.asarray(mask.dataobj) == 1)


def test_a_mixed_cohort_has_three_channels_and_pages_are_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write_pictures(folder, count=3)
    save(folder / "images" / "c.png", shown(5, colour=True))
    save(folder / "masks" / "c.png", drawn(5))
    tifffile.imwrite(folder / "images" / "t.tif", np.stack([shown(1), shown(2)]), photometric="minisblack")
    tifffile.imwrite(folder / "masks" / "t.tif", np.stack([drawn(1), drawn(2)]), photometric="minisblack")
    content, said = prepared(tmp_path)
    assert "6 pictures: 1 in colour, 3 channels for all" in said
    assert {image.shape for image in written(tmp_path, content)} == {(WIDTH, HEIGHT, 1, 3)}
    areas = sorted(item["slice_size"]["structure_1"][0] for item in content["training"])
    assert areas == sorted(float(drawn(number).sum()) for number in (0, 1, 2, 5, 1, 2))
    subjects = [item["subject"] for item in content["training"]]
    assert len(set(subjects)) == 5  # the pages of a file are of one subject


@pytest.mark.parametrize(
    ("pages", "masks", "found"),
    [(3, 1, "found 1 page, expected the 3"), (1, 3, "found 3 pages, expected the 1"), (3, 2, "found 2 pages")],
)
def test_a_mask_has_as_many_pages_as_its_picture(tmp_path: Path, pages: int, masks: int, found: str) -> None:
    folder = tmp_path / "pictures"
    write_pictures(folder, count=3)
    tifffile.imwrite(folder / "images" / "t.tif", np.stack([shown(1)] * pages), photometric="minisblack")
    tifffile.imwrite(folder / "masks" / "t.tif", np.stack([drawn(1)] * masks), photometric="minisblack")
    assert f"masks/t.tif: {found}" in init(tmp_path).output.replace("\n", "")


def test_sizes_in_mm_need_the_size_of_a_pixel(tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "pictures", masks=False)
    table = write_table(tmp_path / "sizes.csv", "image,head area_mm2", [f"{name},60" for name in names])
    result = init(tmp_path, "--sizes", table)
    assert result.exit_code == 1
    assert "1 more: found no size of its pixels, expected one, as the table has sizes in mm. Add" in result.output
    rows = [f"{name},60,{0.5 if number else ''}" for number, name in enumerate(names)]
    write_table(table, "image,head area_mm2,pixel_mm", rows)
    result = init(tmp_path, "--sizes", table)
    assert result.output.count("found no size of its pixels") == 1
    content = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert [item["slice_size"]["head"] for item in content["training"]] == [[60.0]] * 5


def test_pixels_that_make_a_head_two_metres_wide_are_doubted(tmp_path: Path) -> None:
    names = write_pictures(tmp_path / "pictures", masks=False)
    rows = [f"{name},25 %,80" for name in names]
    table = write_table(tmp_path / "sizes.csv", "image,head fraction,pixel_mm", rows)
    _, said = prepared(tmp_path, "--sizes", table)
    assert "a pixel of 80 mm, by pixel_mm of the table, makes the picture 3.2 m wide" in said
    assert "'head' is 1.6 m wide" in said
    write_table(
        table, "image,head fraction,pixel_mm", [f"{name},25 %,{2 if n else 0.01}" for n, name in enumerate(names)]
    )
    _, said = prepared(tmp_path, "--sizes", table)
    assert "p00.png (0.01 mm): its pixels are far from the median of 2 mm" in said


def test_a_mask_without_the_turn_of_its_picture_is_turned_with_a_word(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write_pictures(folder)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / "images" / "p00.png", shown(0), exif=exif)
    content, said = prepared(tmp_path)
    assert "drawn on the picture as stored, and turned by the EXIF orientation 6" in said
    for image, mask in zip(written(tmp_path, content), written(tmp_path, content, "label"), strict=True):
        assert np.array_equal(np.asarray(image.dataobj) >= 120, np.asarray(mask.dataobj) == 1)


def test_masks_by_colours_and_thresholds(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for number in range(4):
        save(folder / "images" / f"p{number}.png", shown(number))
        painted = drawn(number)[..., None] * np.array([250, 0, 0], dtype=np.uint8)
        painted[0, :3] = (0, 0, 250)
        save(folder / "masks" / f"p{number}.png", painted)
    result = init(tmp_path)
    assert result.exit_code == 1
    assert "found the colours #fa0000, #0000fa, expected class indices" in result.output
    content, _ = prepared(tmp_path, "--mask-colour", "lesion=#fa0000", "--mask-colour", "ruler=#0000fa")
    assert list(content["labels"].values()) == ["background", "lesion", "ruler"]
    assert sorted(item["slice_size"]["lesion"][0] for item in content["training"]) == [
        float(drawn(number).sum()) for number in range(4)
    ]
    assert "expected STRUCTURE=COLOUR" in init(tmp_path, "--mask-colour", "red").output
    for number in range(4):
        (folder / "masks" / f"p{number}.png").unlink()
        save(folder / "masks" / f"p{number}.jpg", 255 * drawn(number), quality=60)
    result = init(tmp_path)
    assert result.exit_code == 1
    assert "of JPEG, which blurs edges, expected class indices" in result.output
    content, _ = prepared(tmp_path, "--mask-threshold", 128)
    assert len(content["training"]) == 4
    assert all("label" in item for item in content["training"])


def test_pixels_of_no_class_are_left_out_of_sizes_as_in_pascal_voc(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for number in range(4):
        save(folder / "JPEGImages" / f"p{number}.jpg", shown(number, colour=True))
        mask = 8 * drawn(number)
        mask[4] = 255
        mask[20:25, 30:35] = 12
        save(folder / "SegmentationClass" / f"p{number}.png", mask)
    content, said = prepared(tmp_path)
    assert "its value 255 counts as of no class, as in PASCAL VOC" in said
    assert content["mask_ignored"] == 255
    assert list(content["labels"].values()) == ["background", "structure_8", "structure_12"]
    assert sorted(item["slice_size"]["structure_8"][0] for item in content["training"]) == [
        float(drawn(number).sum()) for number in range(4)
    ]
    assert load_cohort(tmp_path / "out" / "datalist.json", tmp_path / "out").mask_ignored == 255


def test_broken_pictures_and_masks_are_named_and_the_others_prepared(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write_pictures(folder)
    whole = save(folder / "images" / "cut.jpg", shown(3, colour=True)).read_bytes()
    (folder / "images" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    save(folder / "images" / "moves.gif", shown(1), save_all=True, append_images=[Image.fromarray(shown(2))])
    save(folder / "masks" / "p05.png", drawn(5)[::2])
    save(folder / "images" / "p04.bmp", shown(4))  # masks/p04.png may be of either
    result = init(tmp_path)
    assert result.exit_code == 1
    for message in (
        "cut.jpg: found a file that is cut off or broken",
        "moves.gif: found 2 frames of an animation",
        "p05.png: found 40 × 15 pixels, expected the 40 × 30 of its picture",
        "p04.png: found 2 scans that this mask may belong to, expected one",
    ):
        assert message in result.output
    content = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert len(content["training"]) == 4


def test_rows_that_fit_two_pictures_and_fractions_above_one_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", masks=False)
    save(tmp_path / "pictures" / "images" / "p00.bmp", shown(0))
    table = write_table(tmp_path / "sizes.csv", "image,lesion fraction", ["p00,0.1"])
    assert "2 scans fit, 'images/p00.bmp', 'images/p00.png'" in init(tmp_path, "--sizes", table).output
    write_table(table, "image,lesion fraction", ["p01.png,1.4"])
    assert "is '1.4', expected 1 or less" in init(tmp_path, "--sizes", table).output


def test_deep_pictures_that_use_twelve_bits_are_told(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "pictures" / "images" / f"p{number}.png", 20 * shown(number).astype(np.uint16))
        save(tmp_path / "pictures" / "masks" / f"p{number}.png", drawn(number))
    content, said = prepared(tmp_path)
    assert "4 pictures have 16 bits a value and use 12 of them" in said
    assert all(image.get_data_dtype() == np.uint16 for image in written(tmp_path, content))


def test_masks_that_cannot_be_read_are_told_of_once(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for number in range(3):
        save(folder / "images" / f"p{number}.png", shown(number))
        save(folder / "masks" / f"p{number}.png", np.stack([255 * drawn(number)] + 2 * [drawn(9) * 0], axis=-1))
    said = init(tmp_path).output
    assert said.count("found the colours #ff0000, expected class indices") == 1
    assert "Nor can 2 more be read, for like reasons." in said


def test_a_second_call_converts_only_what_has_changed(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures")
    prepared(tmp_path)
    _, said = prepared(tmp_path)
    assert "converted 6 pictures, 6 of them by an earlier call" in said
    assert "found 6 pictures\n" in said
    assert "datalist.json with 6 pictures of 6 subjects, cohort.yaml" in said
    _, said = prepared(tmp_path, "--pixel-mm", 0.5)
    assert "converted 6 pictures\n" in said


def test_pictures_beside_volumes_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write_pictures(folder, count=2, masks=False)
    for number in range(4):
        volume = np.random.default_rng(number).normal(size=(8, 8, 8)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / f"scan{number}.nii.gz")
        nibabel.save(
            nibabel.Nifti1Image((volume > 0).astype(np.uint8), np.eye(4)), folder / f"scan{number}_mask.nii.gz"
        )
    content, said = prepared(tmp_path)
    assert len(content["training"]) == 4
    assert "p00.png and 1 more: it is a picture beside volumes" in said


def test_heads_and_lesions_of_real_pictures_have_the_sizes_of_their_masks(real_scans: Path, tmp_path: Path) -> None:
    for name, count in (("HC18", 12), ("BUSI", 20)):
        source, folder = real_scans / name, tmp_path / name
        lines = (source / "sizes.csv").read_text().splitlines()
        chosen = lines[1 :: len(lines) // count]
        for kind in ("images", "masks"):
            (folder / "pictures" / kind).mkdir(parents=True)
            for line in chosen:
                file = line.split(",")[0]
                (folder / "pictures" / kind / file).write_bytes((source / kind / file).read_bytes())
        table = write_table(folder / "sizes.csv", lines[0], chosen)
        content, _ = prepared(folder, "--sizes", table)
        for item, mask in zip(content["training"], written(folder, content, "label"), strict=True):
            ((stated,),) = item["slice_size"].values()
            low, high = stated if isinstance(stated, list) else (stated, stated)
            area = np.count_nonzero(mask.dataobj) * float(np.prod(mask.header.get_zooms()[:2]))
            assert 0.96 * low - 1 <= area <= 1.04 * high + 1
        assert content.get("length_unit") == ("px" if name == "BUSI" else None)
