"""Doubts about predictions."""

import numpy as np
import pandas as pd
import pytest

from medsize.metrics.reliability import (
    IMAGE_FACTS,
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
            **{"at_edge": 0, "outside_largest": 0.01 * n, **IMAGE},
        }
        for n in range(6)
    ]
    return cohort_facts(pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("liver", "image", "flag", "reason"),
    [
        ((1200, False, 0.0), {}, "ok", ""),
        ((1800, False, 0.1), {}, "ok", ""),
        ((1900, False, 0.0), {}, "look", "liver has 1.9e+03 mL"),
        ((780, False, 0.0), {}, "look", "liver has 780 mL"),
        ((3100, False, 0.0), {}, "reject", "liver has"),
        ((0, False, 0.0), {}, "reject", "liver was not found"),
        ((1200, True, 0.0), {}, "look", "edge of the scan"),
        ((1200, False, 0.2), {}, "look", "20 % of liver is outside"),
        ((1200, True, 0.2), {}, "reject", "edge of the scan"),
        ((1200, False, 0.0), {"pixel_mm": 2.6}, "look", "pixels' size in mm is 2.6"),
        ((1200, False, 0.0), {"pixel_mm": 2.6, "slice_mm": 4.0}, "look", "slices' distance"),
        ((1200, False, 0.0), {"pixel_mm": 2.6, "mean_intensity": 0.5}, "reject", "mean intensity"),
        ((1200, False, 0.0), {"intensity_spread": 0.0}, "reject", "the scan has a single intensity"),
    ],
)
def test_what_is_unlike_the_validation_is_doubted(
    cohort: CohortFacts, liver: tuple, image: dict, flag: str, reason: str
) -> None:
    found = reliability({"liver": StructureFacts(*liver)}, IMAGE | image, CohortFacts.read(cohort.recorded()))
    assert (found.flag, found.not_checked) == (flag, ())
    assert reason in "; ".join(found.reasons)


def test_checks_that_a_run_has_no_values_for_are_named(cohort: CohortFacts) -> None:
    found = reliability({"liver": StructureFacts(1200, True, 0.5)}, IMAGE, CohortFacts.read({}))
    assert (found.flag, found.reasons) == ("unchecked", ())
    assert "liver: the size" in found.not_checked
    assert len(found.not_checked) == 2 + len(IMAGE_FACTS)
    found = reliability({"liver": StructureFacts(1200, False, 0.0)}, {}, cohort)
    assert (found.flag, len(found.not_checked)) == ("ok", len(IMAGE_FACTS))
    few = pd.DataFrame([{"image": "a", "structure": "liver", "true_volume_ml": 1000.0}])
    assert cohort_facts(few).structures["liver"].low_ml is None


def test_components_and_edges_of_a_structure() -> None:
    mask = np.zeros((8, 8, 4), dtype=bool)
    mask[2:5, 2:4, 1] = True
    assert structure_facts(mask, 0.5) == (3.0, False, 0.0)
    mask[6:8, 6, 2] = True
    assert structure_facts(mask, 0.5) == (4.0, True, 0.25)
    assert structure_facts(np.zeros((8, 8, 1), dtype=bool), 0.5) == (0.0, False, 0.0)


def test_intensities_are_those_that_the_network_sees() -> None:
    rng = np.random.default_rng(0)
    scan = rng.uniform(size=(20, 10, 5))
    found = image_facts(scan, (1.0, 4.0, 8.0))
    assert (found["pixel_mm"], found["depth_mm"]) == (2.0, 40.0)
    assert image_facts(1000 * scan - 7, (1.0, 4.0, 8.0)) == pytest.approx(found, rel=1e-4)
    assert image_facts(scan, (1.0, 4.0, 8.0), (0.0, 0.5))["mean_intensity"] > 0.7
    assert image_facts(np.zeros((4, 4, 2)), (1.0, 1.0, 1.0))["intensity_spread"] == 0
