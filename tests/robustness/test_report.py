"""The report says what its tables say, and opens without anything else."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from medsize.robustness import run_robustness
from tests.robustness.conftest import stub_command

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the report of a study of stubs, made without Dask."""
    import subprocess

    import yaml

    from medsize.robustness import load_study
    from tests.robustness.conftest import study

    folder = tmp_path_factory.mktemp("report")
    (folder / "study.yaml").write_text(yaml.safe_dump(study(), sort_keys=False))
    command = stub_command(folder, epochs=0)
    for cell in load_study(folder / "study.yaml").cells():
        cell.folder(folder).mkdir(parents=True)
        subprocess.run([*command(cell), "--resume", "False"], check=True)
    page = run_robustness(folder / "study.yaml", folder, folder, report_only=True).report
    assert page == folder / "report" / "report.html"
    return page.parent


def markers(svg: str) -> dict[str, np.ndarray]:
    """Positions of the markers of each curve, by what it shows."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        name = re.sub(r"^(error_\w+?|difference|minutes)-", "", group.get("id", ""))
        uses = [(float(u.get("x", "nan")), float(u.get("y", "nan"))) for u in group.iter(f"{SVG}use")]
        if "/" in name and uses:
            found[name] = np.array(uses)
    return found


def figures(page: str, name: str) -> list[str]:
    return re.findall(rf'data-figure="{name}">\s*(<svg.*?</svg>)', page, flags=re.DOTALL)


@pytest.mark.parametrize("figure", ["dice", "hd95_mm", "volume_error_ml"])
def test_the_curves_drawn_are_those_of_the_csv(report: Path, figure: str) -> None:
    (svg,) = figures((report / "report.html").read_text(), f"error_{figure}")
    table = pd.read_csv(report / "accuracy.csv")
    table = table[table["figure"] == figure]
    drawn = markers(svg)
    assert len(drawn) == 3 * 2
    for structure in ("mean", "liver", "kidney"):
        across, up = [], []
        for supervision, kind in (("sizes", "gaussian"), ("masks", "displaced")):
            rows = table[(table["structure"] == structure) & (table["supervision"] == supervision)]
            rows = rows.sort_values("realised_mre")
            points = drawn[f"{figure}/{structure}/{supervision}/{kind}"]
            assert len(points) == len(rows) == 3
            across += list(zip(rows["realised_mre"], points[:, 0], strict=True))
            up += list(zip(rows["mean"], points[:, 1], strict=True))
        # One scale for all curves of a panel: the places in the picture are a linear function of the numbers.
        for pairs, sign in ((across, 1), (up, -1)):
            numbers, places = np.array(pairs).T
            slope, start = np.polyfit(numbers, places, 1)
            assert np.sign(slope) == sign
            np.testing.assert_allclose(slope * numbers + start, places, atol=0.02)


def test_the_tables_shown_are_those_of_the_csv(report: Path) -> None:
    page = (report / "report.html").read_text()
    (shown,) = re.findall(r'data-table="comparisons">(.*?)</table>', page, flags=re.DOTALL)
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", shown, flags=re.DOTALL)][1:]
    table = pd.read_csv(report / "comparisons.csv")
    table = table[table["structure"] == "mean"]
    assert [row[0] for row in rows] == table["labels"].tolist()
    assert [float(row[2]) for row in rows] == pytest.approx(table["mean"].tolist(), rel=1e-3)


def test_parquet_holds_what_csv_holds(report: Path) -> None:
    for file in report.glob("*.csv"):
        kept = pd.read_parquet(file.with_suffix(".parquet"))
        read = pd.read_csv(file, keep_default_na=True)
        pd.testing.assert_frame_equal(kept, read, check_dtype=False, rtol=1e-5)


def test_the_page_needs_nothing_from_elsewhere(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!#|data:|[a-z_]+\.csv")[^"]*"', page)
    assert "<script" not in page
    assert "@media print" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        referred = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
        assert set(referred) <= set(ids)


def test_it_says_where_sizes_overtake_masks_and_what_was_run(report: Path) -> None:
    page = (report / "report.html").read_text()
    # The stub's sizes lose 0.1 + 0.05·mRE, its masks 0.4·mRE: equal at 0.286, but for noise of 0.01.
    table = pd.read_csv(report / "crossovers.csv").set_index("structure")
    assert table.loc["mean", "overtakes_at"] == pytest.approx(0.1 / 0.35, abs=0.03)
    assert f"from an mRE of {table.loc['mean', 'overtakes_at']:.2f} on" in page
    assert "12 runs" in page
    assert "seeds 0, 1" in page.replace("\n", " ")
    study_hash = hashlib.sha256((report / "study.yaml").read_bytes()).hexdigest()
    assert f"SHA-256 of the data lists: Phantoms: 0d3f; of the study file: {study_hash}" in page


def test_dice_by_kind_and_level_is_that_of_the_csv_with_the_levels_that_cost_little_marked(report: Path) -> None:
    page = (report / "report.html").read_text()
    (shown,) = re.findall(r'data-table="dice">(.*?)</table>', page, flags=re.DOTALL)
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t", row) for row in re.findall(r"<tr>(.*?)</tr>", shown, flags=re.DOTALL)]
    assert rows[0] == ["labels", "right", "0.3", "0.6"]
    assert [row[0] for row in rows[1:]] == ["sizes, gaussian", "masks, displaced"]
    table = pd.read_csv(report / "accuracy.csv")
    table = table[(table["figure"] == "dice") & (table["structure"] == "mean")]
    for name, *found in rows[1:]:
        of_name = table[table["supervision"] == name.split(",")[0]].sort_values("level")
        assert [float(text.removesuffix(" ✓")) for text in found] == pytest.approx(of_name["mean"].tolist(), abs=5e-4)
    # The margin is 0.05; the stub's sizes lose 0.05·level, its masks 0.4·level.
    assert [text.endswith("✓") for text in rows[1][2:]] == [True, True]
    assert [text.endswith("✓") for text in rows[2][2:]] == [False, False]
    assert "by the margin of 0.05 Dice: gaussian up to 0.6 (" in page


def test_conditions_are_told_kind_by_kind_from_right_to_most_wrong(report: Path) -> None:
    table = pd.read_csv(report / "accuracy.csv")
    expected = [(name, level) for name in ("sizes", "masks") for level in (0.0, 0.3, 0.6)]
    found = table[["supervision", "level"]].drop_duplicates()
    assert list(found.itertuples(index=False, name=None)) == expected
