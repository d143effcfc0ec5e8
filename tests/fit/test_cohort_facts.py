"""Facts of a cohort: what its data list states."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

from medsize.fit.cohort_facts import cohort_facts, find_source


def test_scans_whose_sizes_are_all_unknown_do_not_count_as_scans_with_a_size(tmp_path: Path) -> None:
    sizes = [{"liver": 900.0, "spleen": None}, {"liver": None, "spleen": None}, {"liver": [0.0, 400.0]}]
    clicks = {"liver": [[4.0, 4.0, 2.0]]}
    for number in range(3):
        nibabel.save(nibabel.Nifti1Image(np.ones((16, 16, 5), np.float32), np.eye(4)), tmp_path / f"{number}.nii.gz")
    training = [
        {"image": f"{n}.nii.gz", "subject": str(n), "fold": n, "size": size, "clicks": clicks}
        for n, size in enumerate(sizes)
    ]
    labels = {"0": "background", "1": "liver", "2": "spleen"}
    (tmp_path / "datalist.json").write_text(json.dumps({"labels": labels, "size_unit": "mm3", "training": training}))
    source = find_source(tmp_path)
    facts = cohort_facts(source, source.load())
    assert (facts.scans, facts.with_volume, facts.with_slice_sizes, facts.with_scribble) == (3, 2, 0, 3)
