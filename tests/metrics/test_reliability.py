"""Doubts about predictions."""

import numpy as np
import pandas as pd
import pytest

from medsize.metrics.reliability import (
    IMAGE_FACTS,
    OF_PICTURES,
    CohortFacts,
    StructureFacts,
    cohort_facts,
    image_facts,
    reliability,
    structure_facts,
)

IMAGE = dict.fromkeys(IMAGE_FACTS, 2.0)


@pytest.fixture(scope="module")
def cohort() -> CohortFacts:
    rows = [
        {
            **{"image": f"{n}.nii.gz", "structure": "liver", "true_volume_ml": 1000.0 + 100 * n},
            **{"at_edge": 0, "outside_largest": 0.01 * n, "confidence": 0.95 - 0.02 * n, **IMAGE},
        }
        for n in range(6)
    ]
    return cohort_facts(pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("liver", "image", "flag", "reason"),
    [
        ((1200, False, 0.0), {}, "ok", ""),
        ((1800, False, 0.1), {}, "ok", ""),
        ((1900, False, 0.0), {}, "look", "liver has 1,900 mL"),
        ((780, False, 0.0), {}, "look", "liver has 780 mL"),
        ((3100, False, 0.0), {}, "reject", "liver has"),
        ((0, False, 0.0), {}, "reject", "liver was not found"),
        ((1200, True, 0.0), {}, "look", "edge of the scan"),
        ((1200, False, 0.2), {}, "look", "20 % of liver is outside"),
        ((1200, True, 0.2), {}, "reject", "edge of the scan"),
        ((1200, False, 0.0, 0.86), {}, "ok", ""),
        ((1200, False, 0.0, 0.84), {}, "look", "unsure of liver: confidence 0.84, in the validation 0.90"),
        ((1900, False, 0.0, 0.84), {}, "reject", "unsure of liver"),
        ((1200, False, 0.0), {"pixel_mm": 2.6}, "look", "pixels' size in mm is 2.6"),
        ((1200, False, 0.0), {"pixel_mm": 2.6, "slice_mm": 4.0}, "look", "slices' distance"),
        ((1200, False, 0.0), {"pixel_mm": 2.6, "mean_intensity": 0.5}, "reject", "mean intensity"),
        ((1200, False, 0.0), {"intensity_spread": 0.0}, "reject", "the scan has a single intensity"),
    ],
)
def test_what_is_unlike_the_validation_is_doubted(
    cohort: CohortFacts, liver: tuple, image: dict, flag: str, reason: str
) -> None:
    facts = StructureFacts(*(*liver, 0.95)[:4])
    found = reliability({"liver": facts}, IMAGE | image, CohortFacts.read(cohort.recorded()))
    assert (found.flag, found.not_checked) == (flag, ())
    assert reason in "; ".join(found.reasons)


def test_checks_that_a_run_has_no_values_for_are_named(cohort: CohortFacts) -> None:
    found = reliability({"liver": StructureFacts(1200, True, 0.5)}, IMAGE, CohortFacts.read({}))
    assert (found.flag, found.reasons) == ("unchecked", ())
    assert "liver: the size" in found.not_checked
    assert len(found.not_checked) == 3 + len(IMAGE_FACTS)
    found = reliability({"liver": StructureFacts(1200, False, 0.0)}, {}, cohort)
    assert (found.flag, len(found.not_checked)) == ("ok", 1 + len(IMAGE_FACTS))
    few = pd.DataFrame([{"image": "a", "structure": "liver", "true_volume_ml": 1000.0}])
    assert cohort_facts(few).structures["liver"].low_ml is None


@pytest.mark.parametrize("volume_ml", [0.0, np.float64(0)])
def test_a_structure_that_is_not_found_has_no_confidence_to_check(cohort: CohortFacts, volume_ml: float) -> None:
    found = reliability({"liver": StructureFacts(volume_ml, False, 0.0)}, IMAGE, cohort)
    assert "liver was not found" in "; ".join(found.reasons)
    assert not [check for check in found.not_checked if "confidence" in check]


@pytest.mark.parametrize(
    ("fraction", "flag", "reason"),
    [
        (0.3, "ok", ""),
        (0.6, "look", "lesion fills 60 % of the picture; those of the validation are 5 to 40 %"),
        (0.0, "reject", "lesion was not found"),
    ],
)
def test_structures_in_pictures_are_compared_by_the_fraction_that_they_fill(
    fraction: float, flag: str, reason: str
) -> None:
    """Pictures of another number of pixels, which the network sees in the same size."""
    rows = [
        {
            **{"image": f"{n}.png", "structure": "lesion", "true_volume_ml": area / 1000, "at_edge": 0},
            **{"outside_largest": 0, "confidence": 0.9, **IMAGE, "view_mm": 100.0, "depth_mm": 1.0},
        }
        for n, area in enumerate((500.0, 1000.0, 2000.0, 3000.0, 4000.0))
    ]
    cohort = CohortFacts.read(cohort_facts(pd.DataFrame(rows)).recorded())
    facts = StructureFacts(fraction * 1000**2 / 1000, False, 0.0, 0.9, fraction)
    found = reliability({"lesion": facts}, IMAGE | {"view_mm": 1000.0}, cohort, OF_PICTURES)
    assert (found.flag, found.not_checked) == (flag, ())
    assert reason in "; ".join(found.reasons)


def test_a_tenth_of_the_scans_has_a_structure_that_the_network_is_less_sure_of() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"image": str(n), "structure": name, "true_volume_ml": 1.0, "confidence": usual + rng.normal(0, 0.02)}
        for n in range(79)
        for name, usual in (("liver", 0.9), ("spleen", 0.7))
    )
    facts = cohort_facts(table)
    usual = table["structure"].map({name: facts.structures[name].confidence for name in ("liver", "spleen")})
    doubted = table[table["confidence"] < facts.least_confidence * usual]
    assert doubted["image"].nunique() == 7  # one more scan like these is below the eighth by 8 / 80
    assert set(doubted["structure"]) == {"liver", "spleen"}
    assert cohort_facts(table.drop(columns="confidence")).least_confidence is None


def test_components_and_edges_of_a_structure() -> None:
    mask = np.zeros((8, 8, 4), dtype=bool)
    mask[2:5, 2:4, 1] = True
    assert structure_facts(mask, 0.5)[:3] == (3.0, False, 0.0)
    mask[6:8, 6, 2] = True
    assert structure_facts(mask, 0.5)[:3] == (4.0, True, 0.25)
    assert structure_facts(np.zeros((8, 8, 1), dtype=bool), 0.5)[:3] == (0.0, False, 0.0)


def test_stray_voxels_in_the_last_slice_do_not_cut_a_structure_off() -> None:
    mask = np.zeros((12, 12, 8), dtype=bool)
    mask[2:10, 2:10, 2:6] = True
    mask[4, 4, 6:] = True
    assert not structure_facts(mask, 1.0).at_edge
    mask[4:6, 4:6, 7] = True
    assert structure_facts(mask, 1.0).at_edge


def test_intensities_are_those_that_the_network_sees() -> None:
    rng = np.random.default_rng(0)
    scan = rng.uniform(size=(20, 10, 5))
    found = image_facts(scan, (1.0, 4.0, 8.0))
    assert (found["pixel_mm"], found["depth_mm"]) == (2.0, 40.0)
    assert image_facts(1000 * scan - 7, (1.0, 4.0, 8.0)) == pytest.approx(found, rel=1e-4)
    assert image_facts(scan, (1.0, 4.0, 8.0), (0.0, 0.5))["mean_intensity"] > 0.7
    assert image_facts(np.zeros((4, 4, 2)), (1.0, 1.0, 1.0))["intensity_spread"] == 0
