"""The report says what its tables say, and opens without anything else."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from tests.studies.robustness.conftest import stub_report, study

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the report of the study of stubs."""
    return stub_report(tmp_path_factory.mktemp("report"), study())


def shown_by(group: ElementTree.Element) -> str:
    """Return the id of an SVG's group without the figure's name."""
    return re.sub(r"^(error_\w+?|difference|minutes)-", "", group.get("id", ""))


def markers(svg: str) -> dict[str, np.ndarray]:
    """Positions of the markers of each curve, by what it shows."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        name = shown_by(group)
        uses = [(float(u.get("x", "nan")), float(u.get("y", "nan"))) for u in group.iter(f"{SVG}use")]
        if "/" in name and uses:
            found[name] = np.array(uses)
    return found


def intervals(svg: str) -> dict[str, np.ndarray]:
    """Lower and upper end of the bars of each curve, by what it shows."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        name = shown_by(group)
        if name.endswith("/intervals"):
            paths = [re.findall(r"[-\d.]+", path.get("d", "")) for path in group.iter(f"{SVG}path")]
            found[name.removesuffix("/intervals")] = np.array([(float(p[1]), float(p[3])) for p in paths])
    return found


def figures(page: str, name: str) -> list[str]:
    return re.findall(rf'data-figure="{name}">\s*(<svg.*?</svg>)', page, flags=re.DOTALL)


def expect_linear(numbers: np.ndarray, places: np.ndarray, sign: int) -> None:
    """One scale for all curves of a panel: the places in the picture are a linear function of the numbers."""
    slope, start = np.polyfit(numbers, places, 1)
    assert np.sign(slope) == sign
    np.testing.assert_allclose(slope * numbers + start, places, atol=0.02)


@pytest.mark.parametrize("figure", ["dice", "hd95_mm", "volume_error_ml"])
def test_the_curves_drawn_are_those_of_the_csv(report: Path, figure: str) -> None:
    (svg,) = figures((report / "report.html").read_text(), f"error_{figure}")
    table = pd.read_csv(report / "accuracy.csv")
    table = table[table["figure"] == figure]
    drawn, bars = markers(svg), intervals(svg)
    assert len(drawn) == len(bars) == 3 * 2
    for structure in ("mean", "liver", "kidney"):
        across, up = [], []
        for supervision, kind in (("sizes", "gaussian"), ("masks", "displaced")):
            rows = table[(table["structure"] == structure) & (table["supervision"] == supervision)]
            rows = rows.sort_values("realised_mre")
            points = drawn[f"{figure}/{structure}/{supervision}/{kind}"]
            ends = bars[f"{figure}/{structure}/{supervision}/{kind}"]
            assert len(points) == len(ends) == len(rows) == 3
            across += list(zip(rows["realised_mre"], points[:, 0], strict=True))
            for column, places in (("mean", points[:, 1]), ("low", ends[:, 0]), ("high", ends[:, 1])):
                up += list(zip(rows[column], places, strict=True))
        expect_linear(*np.array(across).T, sign=1)
        expect_linear(*np.array(up).T, sign=-1)


def test_the_differences_drawn_are_those_of_the_csv(report: Path) -> None:
    (svg,) = figures((report / "report.html").read_text(), "difference")
    table, drawn, bars = pd.read_csv(report / "equally_wrong.csv"), markers(svg), intervals(svg)
    for structure in ("mean", "liver", "kidney"):
        rows = table[table["structure"] == structure].sort_values("realised_mre")
        name = f"difference/{structure}/sizes/gaussian/masks, displaced"
        assert len(rows) == len(drawn[name]) == 3
        numbers = np.concatenate([rows["mean"], rows["low"], rows["high"]])
        expect_linear(numbers, np.concatenate([drawn[name][:, 1], *bars[name].T]), sign=-1)
        expect_linear(rows["realised_mre"].to_numpy(), drawn[name][:, 0], sign=1)


def test_dice_drawn_against_minutes_is_that_of_the_csv(report: Path) -> None:
    (svg,) = figures((report / "report.html").read_text(), "minutes")
    table, drawn = pd.read_csv(report / "accuracy.csv"), markers(svg)
    table = table[(table["figure"] == "dice") & (table["structure"] == "mean")]
    numbers, places = [], []
    for supervision, kind in (("sizes", "gaussian"), ("masks", "displaced")):
        rows = table[table["supervision"] == supervision].sort_values("level")
        found = [*drawn[f"minutes/mean/{supervision}, as given"], *drawn[f"minutes/mean/{supervision}/{kind}"]]
        numbers += list(zip(np.log2(rows["minutes"]), rows["mean"], strict=True))
        places += found
    for column, sign in ((0, 1), (1, -1)):
        expect_linear(np.array(numbers)[:, column], np.array(places)[:, column], sign)


def test_the_tables_shown_are_those_of_the_csv(report: Path) -> None:
    page = (report / "report.html").read_text()
    (shown,) = re.findall(r'data-table="comparisons">(.*?)</table>', page, flags=re.DOTALL)
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", shown, flags=re.DOTALL)][1:]
    table = pd.read_csv(report / "comparisons.csv")
    table = table[table["structure"] == "mean"]
    assert [row[0] for row in rows] == table["labels"].tolist()
    for place, column in enumerate(("mean", "low", "high"), start=2):
        assert [float(row[place]) for row in rows] == pytest.approx(table[column].tolist(), rel=1e-3)
    for place, column in ((6, "p"), (7, "p_holm")):
        numbers = [0.0 if row[place] == "&lt; 0.001" else float(row[place]) for row in rows]
        assert numbers == pytest.approx(table[column].tolist(), abs=1e-3)
    assert [row[9] for row in rows] == ["yes" if found else "no" for found in table["non_inferior"]]


def test_parquet_holds_what_csv_holds(report: Path) -> None:
    files = sorted(report.glob("*.csv"))
    assert [file.stem for file in files] == [
        *("accuracy", "cases", "comparisons", "crossovers", "equally_wrong", "runs", "volume_agreement")
    ]
    for file in files:
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
    referred = re.findall(r'(?:href="#|url\(#)([^")]+)', " ".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL)))
    assert set(referred)
    assert set(referred) <= set(ids)


def test_it_says_where_sizes_overtake_masks_and_what_was_run(report: Path) -> None:
    page = (report / "report.html").read_text()
    # The stub's sizes lose 0.1 + 0.05·mRE, its masks 0.4·mRE: equal at 0.286, but for noise of 0.01.
    table = pd.read_csv(report / "crossovers.csv").set_index("structure")
    assert table.loc["mean", "overtakes_at"] == pytest.approx(0.1 / 0.35, abs=0.03)
    assert f"from an mRE of {table.loc['mean', 'overtakes_at']:.2f} on" in page
    page = " ".join(page.split())
    assert "12 runs" in page
    assert "seeds 0, 1" in page
    assert "Phantoms: trained on 10 scans, evaluated on 8 scans of 8 other subjects" in page
    assert "All conditions were trained twice only." in page
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
    assert "by the margin of 0.05 mean Dice: gaussian up to 0.6 (" in " ".join(page.split())


def test_conditions_are_told_kind_by_kind_from_right_to_most_wrong(report: Path) -> None:
    table = pd.read_csv(report / "accuracy.csv")
    expected = [(name, level) for name in ("sizes", "masks") for level in (0.0, 0.3, 0.6)]
    found = table[["supervision", "level"]].drop_duplicates()
    assert list(found.itertuples(index=False, name=None)) == expected


def sizes_and_masks(sizes: dict[str, list[float]], masks: dict[str, list[float]]) -> dict[str, dict]:
    return {"sizes": {"noise_on": "sizes", "noise": sizes}, "masks": {"noise_on": "masks", "noise": masks}}


def sentences(report: Path) -> list[str]:
    page = (report / "report.html").read_text()
    return [" ".join(line.split()) for line in re.findall(r"<li>(.*?)</li>", page, flags=re.DOTALL)]


def test_a_report_of_what_runs_last_is_written(tmp_path: Path) -> None:
    report = stub_report(tmp_path, study(), only="sizes, gaussian 0.6 / seed 1")
    page = (report / "report.html").read_text()
    assert "11 of 12 cells are not finished" in page
    assert "Phantoms / UNet / masks, as given / seed 0" in page
    assert "All conditions were trained once only." in " ".join(page.split())


def test_kinds_of_error_are_compared_with_masks_as_wrong_whatever_their_levels(tmp_path: Path) -> None:
    supervision = sizes_and_masks({"missing": [0.5], "terciles": [], "gaussian": [0.6]}, {"displaced": [0.3, 1.0]})
    report = stub_report(tmp_path, study(supervision=supervision))
    table = pd.read_csv(report / "equally_wrong.csv")
    assert set(table["noise"]) == {"none", "terciles", "gaussian"}
    told = sentences(report)
    (gaussian,) = [line for line in told if line.startswith("Errors of the kind gaussian: ")]
    assert "at least as good as equally wrong masks, displaced from an mRE of 0." in gaussian
    (terciles,) = [line for line in told if line.startswith("sizes, terciles: ")]
    assert "over equally wrong masks, displaced, at an mRE of" in terciles
    assert not any("missing" in line and "mask" in line for line in told)


def test_what_overtakes_one_kind_of_masks_and_not_another_is_told_of_each(tmp_path: Path) -> None:
    supervision = sizes_and_masks({"gaussian": [0.6]}, {"displaced": [0.6], "blocks": [0.6]})

    def better_blocks() -> None:
        for table in tmp_path.glob("phantoms/*masks_blocks*/metrics.csv"):
            cases = pd.read_csv(table)
            cases.assign(dice=cases["dice"] + 0.3).to_csv(table, index=False)

    told = sentences(stub_report(tmp_path, study(supervision=supervision), change=better_blocks))
    (ahead,) = [line for line in told if "at least as good as equally wrong" in line]
    (behind,) = [line for line in told if "do not overtake" in line]
    assert "masks, displaced" in ahead
    assert "blocks" not in ahead
    assert "masks, blocks" in behind
    assert "displaced" not in behind


def test_masks_that_did_not_change_at_a_level_do_not_undo_the_comparison(tmp_path: Path) -> None:
    supervision = sizes_and_masks({"gaussian": [0.3]}, {"dropped structures": [0.1, 0.6]})

    def none_dropped() -> None:
        for cell in tmp_path.glob("phantoms/*dropped_structures_0_1*/summary.json"):
            summary = json.loads(cell.read_text())
            cell.write_text(json.dumps(summary | {"mask_change": 0.0}))

    report = stub_report(tmp_path, study(supervision=supervision), change=none_dropped)
    assert pd.read_csv(report / "equally_wrong.csv")[["mean", "low", "high"]].notna().all(axis=None)


def test_runs_of_different_data_lists_are_told_of(report: Path, tmp_path: Path) -> None:
    assert "its data list changed" not in (report / "report.html").read_text()

    def change_a_list() -> None:
        summary = next(tmp_path.glob("phantoms/*/summary.json"))
        summary.write_text(summary.read_text().replace("0d3f", "77aa"))

    mixed = stub_report(tmp_path, study(), change=change_a_list)
    assert "Phantoms: its data list changed" in (mixed / "report.html").read_text()


def test_conditions_of_fewer_seeds_are_marked(tmp_path: Path) -> None:
    supervision = sizes_and_masks({"gaussian": [0.3]}, {"displaced": [0.3]})
    report = stub_report(tmp_path, study(supervision=supervision), only="seed 0")
    page = (report / "report.html").read_text()
    assert re.search(r"0\.\d{3} ✓ \(1 of 2 seeds\)", page)


def test_names_of_structures_are_no_formulas(tmp_path: Path) -> None:

    def rename() -> None:
        for table in tmp_path.glob("phantoms/*/metrics.csv"):
            table.write_text(table.read_text().replace("liver", r"$\alpha_$"))

    report = stub_report(tmp_path, study(), change=rename)
    assert r"$\alpha_$" in (report / "report.html").read_text()
