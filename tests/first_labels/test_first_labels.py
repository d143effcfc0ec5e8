"""First labels of a cohort: found from volumes, kept, made again when anything changes, and met by every scan."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, LoadImaged, RandFlipd, ScaleIntensityRangePercentilesd, SpatialCropd

from medsize.checks import RunRefused, open_first_labels
from medsize.data import load_cohort, write_phantom_cohort
from medsize.first_labels import AtlasScan, FirstLabeld, FirstLabels, atlas_rounds, label_file, make_first_labels
from medsize.first_labels import first_labels as module
from medsize.first_labels.report import advice, write_report
from medsize.pictures import class_colours
from medsize.sizes.mask_sizes import describe_mask

NAMES = ("background", "liver", "kidney", "lesion")
CHEAP = {"features": "intensity", "vocabularies": (8, 12), "rounds": 1}


def loading(*others: Any, keys: tuple[str, ...] = ("image", "label", "scribble")) -> Compose:
    load = LoadImaged(keys, image_only=True, ensure_channel_first=True, allow_missing_keys=True)
    return Compose([load, ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0.0, 1.0, clip=True), *others])


def items_of(folder: Path, supervision: str = "size", size_level: str = "volume") -> list[dict[str, Any]]:
    return load_cohort(folder / "datalist.json", folder).training_items(supervision, 0, size_level, None)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_phantom_cohort(folder, num_scans=6, shape=(24, 24, 4), spacing=(8.0, 8.0, 24.0))
    return folder


@pytest.fixture(scope="module")
def made(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    return make_first_labels(items_of(cohort), loading(), FirstLabels(4, **CHEAP), folder, NAMES)


def test_phantoms_are_found_from_one_volume_a_scan(tmp_path: Path) -> None:
    """The masks are used for the evaluation only."""
    write_phantom_cohort(tmp_path, num_scans=24)
    items = items_of(tmp_path)
    assert all("label" not in item and "scribble" not in item for item in items)
    began = time.process_time()
    made = make_first_labels(items, loading(), FirstLabels(4), tmp_path / "first", NAMES)
    assert time.process_time() - began < 300  # a slow machine needs more than a minute
    dice = []
    for item in load_cohort(tmp_path / "datalist.json", tmp_path).items:
        if item["fold"] == 0:
            continue
        found = FirstLabeld(made)(loading(keys=("image",))({k: item[k] for k in ("image", "volume_mm3")}))
        mask = LoadImaged("label", image_only=True)({"label": item["label"]})["label"]
        predicted = found["soft_label"].as_tensor().argmax(dim=0)
        both = [
            (2 * ((predicted == k) & (mask == k)).sum() / ((predicted == k).sum() + (mask == k).sum()))
            for k in (1, 2, 3)
        ]
        dice.append(torch.stack(both))
    assert float(torch.stack(dice).nanmean()) >= 0.75
    summary = json.loads((made / "first_labels.json").read_text())
    assert summary["rank"] == 4
    assert min(summary["told_apart"]["liver"], summary["told_apart"]["kidney"]) > 2
    page = (made / "first_labels.html").read_text()
    assert page.count("data:image/png") == 12
    assert f"<figcaption>{Path(str(items[0]['image'])).name.split('.')[0]}</figcaption>" in page
    assert all(
        f'style="background: {colour}"></span> {name}' in page for name, colour in class_colours(NAMES[1:]).items()
    )
    assert all(sentence.split(":")[0] in page for sentence in advice(summary))


def test_a_second_call_reads_no_scan_and_a_change_of_anything_makes_others(cohort: Path, made: Path) -> None:
    folder, items = made.parent, items_of(cohort)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("first labels were made again")

    again = FirstLabels(4, **CHEAP)
    again.__class__ = type("Refusing", (FirstLabels,), {"__call__": refuse})
    assert make_first_labels(items, loading(), again, folder, NAMES) == made
    changed = [dict(item) for item in items]
    changed[0]["volume_mm3"] = 1.1 * changed[0]["volume_mm3"]
    for other in (
        (changed, loading(), again),
        (items[1:], loading(), again),
        (items, loading(Flipd("image", 0)), again),
        (items, loading(), vary(again, seed=1)),
        (items, loading(), vary(again, vocabularies=(8, 13))),
    ):
        with pytest.raises(AssertionError, match="made again"):
            make_first_labels(*other, folder, NAMES)


def vary(first_labels: FirstLabels, **values: Any) -> FirstLabels:
    other = FirstLabels(4, **CHEAP | values)
    other.__class__ = first_labels.__class__
    return other


def test_labels_of_a_killed_run_are_made_again(cohort: Path, tmp_path: Path) -> None:
    items = items_of(cohort)
    made = make_first_labels(items, loading(), FirstLabels(4, **CHEAP), tmp_path, NAMES)
    whole = {file.name: file.read_bytes() for file in made.glob("*.pt")}
    assert len(whole) == len(items)
    (made / "first_labels.json").unlink()
    for file in list(made.glob("*.pt"))[:2]:
        file.write_bytes(b"cut off")
    make_first_labels(items, loading(), FirstLabels(4, **CHEAP), tmp_path, NAMES)
    assert {file.name: file.read_bytes() for file in made.glob("*.pt")} == whole


def test_a_folder_that_cannot_be_written_is_told_before_the_work(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def read(_: Any) -> None:
        raise AssertionError("a scan was read")

    with pytest.raises(OSError, match=r"cannot be kept there: .*Free space on the disk, or set first_labels_dir"):
        make_first_labels(items_of(cohort), loading_by(read), FirstLabels(4, **CHEAP), tmp_path / "file", NAMES)


class loading_by:
    def __init__(self, read: Any) -> None:
        self.read = None
        type(self).__call__ = staticmethod(read)  # type: ignore[method-assign]


def test_a_disk_that_fills_up_is_told_with_what_helps(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunRefused) as refused:
        open_first_labels(items_of(cohort), loading(), FirstLabels(4, **CHEAP), tmp_path, NAMES)
    (finding,) = refused.value.findings
    assert "No space left on device. Free space on the disk" in finding.text
    assert not list(tmp_path.rglob("*.pt"))
    assert not list(tmp_path.rglob("first_labels.json"))


def test_a_scan_that_cannot_be_read_is_not_taken_for_a_full_disk(cohort: Path, tmp_path: Path) -> None:
    items = [{**items_of(cohort)[0], "image": str(tmp_path / "missing.nii.gz")}]
    with pytest.raises(RuntimeError, match=r"applying transform .*LoadImaged"):
        make_first_labels(items, loading(), FirstLabels(4, **CHEAP), tmp_path, NAMES)


def test_soft_labels_meet_their_volume_and_lie_on_their_scan(cohort: Path, made: Path) -> None:
    item = loading()(dict(items_of(cohort)[1]))
    found = FirstLabeld(made)(item)["soft_label"]
    assert found.shape == (4, 24, 24, 4)
    torch.testing.assert_close(found.as_tensor().sum(dim=0), torch.ones(24, 24, 4))
    volumes = found.as_tensor()[1:].double().sum(dim=(1, 2, 3)) * 8 * 8 * 24
    torch.testing.assert_close(volumes, item["volume_mm3"][0], rtol=0.02, atol=1e-4 * 24 * 24 * 4 * 8 * 8 * 24)
    torch.testing.assert_close(found.affine, item["image"].affine)


def test_soft_labels_follow_flips_and_crops_of_their_scan(cohort: Path, made: Path) -> None:
    item = FirstLabeld(made)(loading()(dict(items_of(cohort)[1])))
    keys = ("image", "soft_label")
    moved = Compose(
        [RandFlipd(keys, prob=1.0, spatial_axis=0), SpatialCropd(keys, roi_start=(2, 3, 0), roi_end=(20, 20, 4))]
    )
    after = moved(dict(item))
    torch.testing.assert_close(after["soft_label"].affine, after["image"].affine)
    torch.testing.assert_close(after["soft_label"].as_tensor(), item["soft_label"].as_tensor().flip(1)[:, 2:20, 3:20])


def test_every_slice_meets_its_own_size(cohort: Path, made: Path) -> None:
    item = loading()(dict(items_of(cohort, size_level="slice")[1]))
    found = FirstLabeld(made)(item)["soft_label"].as_tensor()
    areas = found[1:].double().sum(dim=(1, 2)) * 64
    torch.testing.assert_close(areas, item["slice_area_mm2"][0], atol=2e-4 * 24 * 24 * 64, rtol=0.02)


def test_a_mask_becomes_its_own_label_and_a_2d_image_needs_no_size(cohort: Path, made: Path, tmp_path: Path) -> None:
    item = loading()(dict(items_of(cohort, supervision="size+mask")[1]))
    soft = FirstLabeld(made)(item)["soft_label"].as_tensor()
    torch.testing.assert_close(soft.argmax(dim=0), item["label"].as_tensor()[0].long())
    assert set(soft.unique().tolist()) == {0.0, 1.0}

    item["label"][:, :3] = 255
    ignored = FirstLabeld(made)(item)["soft_label"].as_tensor()
    torch.testing.assert_close(ignored[:, 3:], soft[:, 3:])
    torch.testing.assert_close(ignored.sum(dim=0), torch.ones(ignored.shape[1:]))
    assert float(ignored[0, :3].amax()) < 1, "what nobody has drawn is not known to be background"

    image = MetaTensor(torch.rand(1, 9, 7), affine=torch.eye(3), meta={"filename_or_obj": "flat.png"})
    torch.save(torch.rand(3, 1, 4, 3).softmax(dim=0).half(), label_file(tmp_path, "./flat.png"))
    soft = FirstLabeld(tmp_path)({"image": image})["soft_label"]
    assert soft.shape == (3, 9, 7)
    torch.testing.assert_close(soft.as_tensor().sum(dim=0), torch.ones(9, 7))
    image.meta["filename_or_obj"] = "other.png"
    with pytest.raises(FileNotFoundError, match=r"other\.png: found no first label of it in .* Make them anew"):
        FirstLabeld(tmp_path)({"image": image})


def test_labels_of_a_grid_lie_on_the_voxels_for_sizes_that_are_no_multiple_of_the_stride(tmp_path: Path) -> None:
    coarse = torch.zeros(2, 1, 5, 5)
    coarse[1, :, 4, 4] = 1
    coarse[0] = 1 - coarse[1]
    torch.save(coarse.half(), label_file(tmp_path, "a"))
    image = MetaTensor(torch.rand(1, 11, 14, 1), affine=torch.eye(4), meta={"filename_or_obj": "a"})
    soft = FirstLabeld(tmp_path)({"image": image})["soft_label"].as_tensor()[1, :, :, 0]
    rows, columns = torch.arange(11.0), torch.arange(14.0)
    assert float((soft.sum(dim=1) * rows).sum() / soft.sum()) == pytest.approx(0.9 * 11 - 0.5, abs=0.7)
    assert float((soft.sum(dim=0) * columns).sum() / soft.sum()) == pytest.approx(0.9 * 14 - 0.5, abs=0.7)


def labels_of(items: list[dict[str, Any]], **options: Any) -> FirstLabels:
    first = FirstLabels(4, **CHEAP | options)
    transform = loading()
    labels = first(lambda number: transform(dict(items[number])), len(items))
    assert len(labels) == len(items)
    assert all(bool(label.isfinite().all()) for label in labels)
    return first


@pytest.mark.parametrize(("supervision", "are_used"), [("size+scribble", True), ("size", False)])
def test_own_intensities_count_only_where_they_explain_the_first_rounds(
    cohort: Path, monkeypatch: pytest.MonkeyPatch, supervision: str, are_used: bool
) -> None:
    """The first rounds find the structures of six small phantoms by their clicks, and hardly by their volumes alone."""
    asked: list[bool] = []

    def rounds(scans: Sequence[AtlasScan], *words: Any, **options: Any) -> list[torch.Tensor]:
        asked.append(all(scan.levels is not None for scan in scans))
        return atlas_rounds(scans, *words, **options)

    monkeypatch.setattr(module, "atlas_rounds", rounds)
    first = labels_of(items_of(cohort, supervision), look_closer=False)
    assert (first.explained >= 0.05) == are_used
    assert asked == [False] + [are_used] * (1 + module.GROWTHS if "scribble" in supervision else 1)


def test_masks_clicks_slices_and_unknown_sizes_mix_in_a_cohort(cohort: Path) -> None:
    volume, slices, mask, click = (
        items_of(cohort, kind, level)
        for kind, level in (("size", "volume"), ("size", "slice"), ("size+mask", "volume"), ("size+scribble", "volume"))
    )
    unknown = {key: value for key, value in volume[3].items() if key != "volume_mm3"}
    first = labels_of([volume[0], slices[1], mask[2], unknown, click[0]])
    assert first.pointed_at.tolist() == [2, 2, 2] or int(first.pointed_at.max()) == 2


def test_voxels_of_masks_that_are_ignored_count_for_no_class(cohort: Path) -> None:
    load, items = loading(), items_of(cohort, supervision="size+mask", size_level="slice")
    scans = [load(dict(item)) for item in items]
    scans[0]["label"][:, : scans[0]["label"].shape[1] // 2] = 255
    labels = FirstLabels(4, features="intensity", vocabularies=(20,), rounds=1)(scans.__getitem__, len(scans))
    rows = labels[0].shape[2]
    assert float(labels[0][:, :, : rows // 2 - 1].abs().max()) == 0
    torch.testing.assert_close(
        labels[0][:, :, rows // 2 + 1 :].float().sum(dim=0), torch.ones(labels[0][0, :, rows // 2 + 1 :].shape)
    )


def test_scans_with_masks_alone_and_scans_without_anything(cohort: Path) -> None:
    first = labels_of(items_of(cohort, "size+mask"))
    assert first.rank == 0
    nothing = [{k: v for k, v in item.items() if k != "volume_mm3"} for item in items_of(cohort)]
    with pytest.raises(ValueError, match="none of the training scans has a size or a mask"):
        labels_of(nothing)


def told(cohort: Path, change: Any, tmp_path: Path, supervision: str = "size") -> list[str]:
    items = [dict(item) for item in items_of(cohort, supervision)]
    for item in items:
        item["volume_mm3"] = change(item["volume_mm3"].clone())
    made = make_first_labels(items, loading(), FirstLabels(4, **CHEAP), tmp_path, NAMES)
    return advice(json.loads((made / "first_labels.json").read_text()))


def test_equal_sizes_are_told_with_their_rank(cohort: Path, tmp_path: Path) -> None:
    sentences = told(cohort, lambda v: torch.full_like(v, 1e5), tmp_path)
    assert "have rank 1, expected 4" in sentences[0]
    assert [s.split(":")[0] for s in sentences[1:]] == list(NAMES[1:])
    assert all("Clicks in three scans help most" in s for s in sentences)


def test_a_structure_that_is_always_absent_is_told_and_no_other_blamed_for_it(cohort: Path, tmp_path: Path) -> None:
    def without_kidney(volume: torch.Tensor) -> torch.Tensor:
        volume[:, 1] = 0
        return volume

    sentences = told(cohort, without_kidney, tmp_path)
    assert "kidney: no scan has it with a known size, so first labels cannot find it." in sentences
    assert not any("rank" in s for s in sentences)


def test_fewer_scans_than_structures_are_told(cohort: Path, tmp_path: Path) -> None:
    made = make_first_labels(items_of(cohort)[:2], loading(), FirstLabels(4, **CHEAP), tmp_path, NAMES)
    (sentence, *_) = advice(json.loads((made / "first_labels.json").read_text()))
    assert "the sizes of 2 scans have rank 2, expected 4" in sentence


def test_clicks_in_three_scans_end_the_doubt(cohort: Path, tmp_path: Path) -> None:
    sentences = told(cohort, lambda v: torch.full_like(v, 1e5), tmp_path, "size+scribble")
    assert [s for s in sentences if "separability" in s] == []


def test_the_page_says_that_clicks_tell_what_sizes_do_not(tmp_path: Path) -> None:
    summary = {"scans": 8, "rank": 3, "classes": 3, "told_apart": {"liver": -0.66, "spleen": 5.0}, "seconds": 1}
    summary |= {
        "pointed_at": {"liver": 3, "spleen": 3},
        "pairs": [],
        "log_likelihood": [],
        "log_likelihood_at_start": [],
    }
    write_report(tmp_path / "page.html", summary, [], lambda item: item, [])
    page = (tmp_path / "page.html").read_text()
    assert "The sizes of liver hardly tell it from the rest: clicks or masks do." in page


def test_organs_that_are_not_told_from_each_other_are_named_together_unless_both_are_shown() -> None:
    apart = {"left kidney": 9.0, "right kidney": 8.0, "spleen": 5.0}
    pair = {"structures": ["left kidney", "right kidney"], "correlation": 0.97, "told_apart": -0.4}
    summary = {"scans": 24, "rank": 4, "told_apart": apart, "pairs": [pair], "pointed_at": dict.fromkeys(apart, 0)}
    (sentence,) = advice(summary)
    assert sentence.startswith("left kidney and right kidney: their sizes do not tell one from the other")
    assert sentence.endswith("Click on both in three scans.")
    assert advice({**summary, "pointed_at": dict.fromkeys(apart, 3)}) == []
    assert advice({**summary, "pairs": [{**pair, "told_apart": 4.0}]}) == []
    assert len(advice({**summary, "told_apart": {**apart, "left kidney": 0.5}})) == 1  # said of it alone


def test_doubts_are_printed_once_as_warnings(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = (items_of(cohort)[:2], loading(), FirstLabels(4, **CHEAP), tmp_path, NAMES)
    for rank, count in ((0, 1), (1, 0)):
        open_first_labels(*arguments, rank=rank)
        output = capsys.readouterr()
        assert output.out.count("First labels of 2 scans, made in") == count
        assert output.err.count("warning: the sizes of 2 scans have rank 2") == count


def test_a_large_cohort_gets_a_coarser_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(1, 64, 64, 2)
    assert FirstLabels(4)._least_stride(image, 10) == 1
    monkeypatch.setattr(module, "MOST_VALUES", 64 * 64 * 2 * 10 * 4 / 9)
    assert FirstLabels(4)._least_stride(image, 10) == 3


@pytest.mark.parametrize("size_level", ["volume", "slice"])
def test_first_labels_of_lesions_stay_in_the_organ_and_meet_their_sizes(tmp_path: Path, size_level: str) -> None:
    """Slices without the organ hold no size."""
    data_list = write_phantom_cohort(tmp_path, 6, (24, 24, 6), (8.0, 8.0, 16.0), lesions=True)
    content = json.loads(data_list.read_text())
    if size_level == "slice":
        content["training"] = [
            {**item, "slice_size": describe_mask(tmp_path / item["label"], ["background", "lesion"])["slice_size"]}
            for item in content["training"]
        ]
        data_list.write_text(json.dumps(content))
    items = load_cohort(data_list, tmp_path).training_items("size", 0, size_level)
    load = loading(keys=("image", "region"))
    made = make_first_labels(items, load, FirstLabels(2, **CHEAP), tmp_path / "labels", NAMES[:2])
    for item in items:
        found = FirstLabeld(made)(load(dict(item)))
        lesion = found["soft_label"].as_tensor()[1]
        assert float((lesion * (found["region"].as_tensor()[0] == 0)).max()) == 0
        volume, areas = float(lesion.sum()) * 8 * 8 * 16, lesion.sum(dim=(0, 1)) * 8 * 8
        if size_level == "volume":
            assert volume == pytest.approx(float(item["volume_mm3"][0, 0]), rel=0.02)
        else:
            torch.testing.assert_close(areas.double(), item["slice_area_mm2"][0, 0], rtol=0.05, atol=5)


def test_sizes_of_another_number_of_structures_and_no_scans_are_refused() -> None:
    scan = {"image": MetaTensor(torch.rand(1, 16, 16, 2)), "volume_mm3": torch.tensor([[20.0], [20.0]])}
    with pytest.raises(ValueError, match="found 1 sizes, expected 2, as num_classes is 3 with the background"):
        FirstLabels(3, **CHEAP)(lambda _: scan, 3)
    with pytest.raises(ValueError, match="num_scans must be at least 1, got 0"):
        FirstLabels(2, **CHEAP)(lambda _: scan, 0)
