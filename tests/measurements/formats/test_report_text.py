"""Sentences of reports: the grammar takes what is certain, shows the sentence, and refuses or asks for the rest."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsize.measurements.formats.report_text import DOUBTS, sizes_in
from tests.cohort.cohorts import write_images
from tests.measurements.tables import measurements, problems, rows_of, table


def accepted(text: str, *names: str) -> list[tuple[str, str, tuple[float, ...]]]:
    return [
        (size.structure, size.location, size.diameters_mm or (size.volume_mm3 or 0.0,))
        for size in sizes_in(text, names)[0]
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("liver 16.2 × 11 × 9 cm", [("liver", "", (162, 110, 90))]),
        ("segment VI lesion 2,3 × 1,8 cm", [("lesion", "segment VI", (23, 18))]),
        ("The liver measures approximately 16 cm in craniocaudal diameter.", [("liver", "", (160,))]),
        ("Liver: volume 1510 ml, spleen: 210 cc.", [("liver", "", (1510000,)), ("spleen", "", (210000,))]),
        ("A 2.3 x 18 mm hypodense lesion in segment VI.", [("lesion", "segment VI", (2.3, 18))]),
        ("Lesion 23 mm x 1.8 cm in the left lobe", [("lesion", "left lobe", (23, 18))]),
        ("Lesions, 12, 15 and 31 mm.", [("lesion", f"lesion {n}", (d,)) for n, d in ((1, 12), (2, 15), (3, 31))]),
        ("lesions 12 mm and 15 mm", [("lesion", "lesion 1", (12,)), ("lesion", "lesion 2", (15,))]),
        ("Lesion 23 mm, previously 28 mm.", [("lesion", "", (23,))]),
        ("Leber 16 cm. Milz misst 11,5 x 4 cm.", [("liver", "", (160,)), ("spleen", "", (115, 40))]),
        ("Herd im Segment VI, 2,3 × 1,8 cm", [("lesion", "Segment VI", (23, 18))]),
        ("Läsionen 12 und 15 mm", [("lesion", f"lesion {n}", (d,)) for n, d in ((1, 12), (2, 15))]),
        ("Tumor in the left lobe, 23 mm", [("tumour", "left lobe", (23,))]),
        ("Liver 16 cm and spleen 12 cm", [("liver", "", (160,)), ("spleen", "", (120,))]),
        ("Left kidney 11.2 cm, right kidney 10.8 cm", [("left kidney", "", (112,)), ("right kidney", "", (108,))]),
        ("Hypodense lesion in the liver measuring 2.3 cm (previously 2 cm)", [("lesion", "liver", (23,))]),
        (
            "There is a 12 mm nodule in the right lobe, and a 5 mm nodule in the left lobe.",
            [("nodule", "right lobe", (12,)), ("nodule", "left lobe", (5,))],
        ),
        ("Lesion 12 mm (series 3, image 45)", [("lesion", "", (12,))]),
        ("A 3-cm lesion. Lesion 12-mm x 14-mm.", [("lesion", "", (30,)), ("lesion", "", (12, 14))]),
        ("Lesion 12 mm, 5 mm from the capsule", [("lesion", "", (12,))]),
        ("Lesion 1: 12 mm.", [("lesion", "1", (12,))]),
        ("Herd 2 misst 15 mm", [("lesion", "2", (15,))]),
        ("Nodule 3, 8 mm", [("nodule", "3", (8,))]),
        ("Cyst no. 2: 3 x 4 cm, cyst #3 (1 cm)", [("cyst", "2", (30, 40)), ("cyst", "3", (10,))]),
        ("Lesion 1: 12 mm, 5 mm from the capsule", [("lesion", "1", (12,))]),
    ],
)
def test_sizes_that_are_certain(text: str, expected: list[object]) -> None:
    found = accepted(text)
    assert [(name, location) for name, location, _ in found] == [(name, location) for name, location, _ in expected]
    for (*_, numbers), (*_, truth) in zip(found, expected, strict=True):
        assert numbers == pytest.approx(truth)


@pytest.mark.parametrize(
    "text",
    [
        "Previously liver 15 cm",
        "CT of 12.03.2020: liver 15 cm",
        "nodule in the right lobe and mass in the liver measuring 3 cm",
        "lesion in segment 6 and 7 measuring 3 cm",
        "No lesion larger than 1 cm",
        "no 2.3 cm lesion",
        "lesion > 2 cm",
        "lesion up to 2 cm",
        "lesion 2-3 cm",
        "lesion 2 to 3 cm",
        "lesion 2.3 cm from the capsule",
        "lesion in the liver 2.3 cm",
        "lesion in the liver, 15 cm",
        "Herd im Segment VI, vorher 2,3 cm",
        "cyst of the liver 2.3 cm",
        "liver cyst wall 2 mm",
        "left lobe liver 8 cm",
        "liver lobe 8 cm",
        "5 mm liver",
        "5 mm slices of the liver",
        "slice thickness 5 mm, liver",
        "liver vein 12 mm",
        "liver 16 cm and 11 cm",
        "right and left kidney 11 cm",
        "liver 1,510 ml",
        "liver 12 cm2",
        "liver 1 x 2 x 3 x 4 cm",
        "liver 16.2 cm x 11",
        "lesion grown by 3 mm",
        "the liver was 15 cm",
        "liver 0 cm",
        "liver 40 %",
        "aorta 2 cm",
        "Lesions 12, 15, 31 mm",
        "Lesion 1 and lesion 2 measure 12 mm",
        "Lesion 1: 12 mm and 15 mm",
        "Lesion 1: 12, 15 and 31 mm",
        "Lesion 1-2: 12 mm",
        "Lesion 1 in segment 3, 12 mm",
    ],
)
def test_what_may_mean_something_else_is_refused(text: str) -> None:
    assert accepted(text) == accepted(text, "liver") == []


@pytest.mark.parametrize("number", ["3e1 mm", "-30 mm", "3e5 mm", "15 CM", "1/2 cm", "3½ cm", "15 centimetres"])
def test_no_number_with_a_unit_is_lost(number: str) -> None:
    sentence = f"Lesion {number}."
    found, refused = sizes_in(f"Lesion 12 mm. {sentence}")
    assert [size.diameters_mm for size in found] == [(12,)]
    assert [(refusal.sentence, refusal.reason.split("'")[1]) for refusal in refused] == [(sentence, number)]


@pytest.mark.parametrize(
    "text",
    [
        "Liver length 15 cm, width 12 cm, depth 8 cm",
        "Liver 15 cm long, 12 cm wide, 8 cm",
        "Liver 15 cm. Width 12 cm. 8 cm",
    ],
)
def test_diameters_that_stand_apart_are_not_read_as_that_of_a_sphere(text: str) -> None:
    found, refused = sizes_in(text)
    assert not found
    assert "'liver 15 cm' is one of several diameters. Write them together" in refused[0].reason
    assert len(refused) == 3


def test_a_missing_unit_is_asked_for_and_never_assumed() -> None:
    for text in ("liver 16.2 × 11 × 9", "liver 16", "the lesion measures 12 x 11."):
        found, refused = sizes_in(text)
        assert not found
        assert [refusal.asks for refusal in refused] == [True]
        assert "has no unit, expected one. Write it into the text, or state it: --unit cm" in refused[0].reason
        assert sizes_in(text, unit="cm")[0][0].diameters_mm[0] >= 120
    assert sizes_in("segment 6 lesion, 2 cysts, series 3")[1] == []  # numbers that are no size


@pytest.mark.parametrize("text", ["Lesion 1: 12 mm.", "Lesions 12, 15, 31 mm", "Lesion 1 in segment VI 12 mm"])
def test_a_unit_is_not_asked_for_where_the_size_has_one(text: str) -> None:
    assert not [refusal for refusal in sizes_in(text)[1] if refusal.asks]
    assert sizes_in(text, unit="mm") == sizes_in(text, unit="cm") == sizes_in(text)


def test_the_number_of_a_lesion_is_not_its_size_though_no_number_has_a_unit() -> None:
    (size,), refused = sizes_in("Lesion 1: 12", unit="mm")
    assert (size.location, size.diameters_mm, refused) == ("1", (12,), [])
    assert [size.diameters_mm for size in sizes_in("Lesion 12 (image 7)", unit="mm")[0]] == [(12,)]


def test_a_structure_is_found_by_its_names_in_english_and_german() -> None:
    text = "Leber 16 cm. Herd im Segment VI, 2,3 cm. Liver 15 cm."
    assert [name for name, *_ in accepted(text, "liver", "lesion")] == ["liver", "lesion", "liver"]
    assert [name for name, *_ in accepted(text, "Leber")] == ["Leber", "Leber"]
    assert [name for name, *_ in accepted(text, "Leber", "liver")] == ["Leber", "liver"]


numbers = st.tuples(st.integers(1, 400), st.integers(0, 99)).map(lambda pair: f"{pair[0]}.{pair[1]:02d}")


@settings(max_examples=100)
@given(
    structure=st.sampled_from(["liver", "Spleen", "lesion", "lymph node"]),
    stated=st.lists(numbers, min_size=1, max_size=3),
    times=st.sampled_from([" x ", "×", " × ", " by ", "*"]),
    unit=st.sampled_from([("mm", 1.0), ("cm", 10.0), (" mm", 1.0), (" cm", 10.0)]),
    filler=st.sampled_from(["", "measures ", "is about ", ": ", "measuring approx. "]),
    comma=st.booleans(),
    ending=st.sampled_from(["", ".", ", unchanged look", " in diameter", " (image 7)"]),
)
def test_a_size_that_is_written_is_read(
    structure: str,
    stated: list[str],
    times: str,
    unit: tuple[str, float],
    filler: str,
    comma: bool,
    ending: str,
) -> None:
    written = times.join(stated)
    written = written.replace(".", ",") if comma else written
    ((name, _, found),) = accepted(f"{structure} {filler}{written}{unit[0]}{ending}")
    assert name.casefold() == structure.casefold()
    assert found == pytest.approx([float(number) * unit[1] for number in stated])
    without, asked = sizes_in(f"{structure} {filler}{written}")
    assert not without
    assert [refusal.asks for refusal in asked] == [True]


@settings(max_examples=100)
@given(
    doubt=st.sampled_from(sorted(DOUBTS)),
    at=st.integers(0, 2),
    number=numbers,
    structure=st.sampled_from(["liver", "lesion"]),
)
def test_no_number_beside_a_word_of_doubt_is_a_size(doubt: str, at: int, number: str, structure: str) -> None:
    words = [structure, f"{number} mm"]
    words.insert(at, doubt)
    assert accepted(" ".join(words)) == []


WORDS = ["liver", "lesion", "in", "segment", "VI", "3", "2,3", "1.8", "12", "x", "×", "cm", "mm", "ml", "and", ",", "."]
WORDS += [
    "previously",
    "no",
    "(",
    ")",
    "<",
    "-",
    "/",
    "of",
    "the",
    "1,510",
    "cm3",
    "measures",
    "±",
    "0",
    "%",
    "\n",
    ";",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join) | st.text(max_size=60))
def test_whatever_is_written_no_number_is_made_up(text: str) -> None:
    for size in sizes_in(text)[0]:
        assert size.sentence in " ".join(text.split())
        assert size.structure.casefold() in size.sentence.casefold()
        held = [float(number.replace(",", ".")) for number in re.findall(r"\d+(?:[.,]\d+)?", size.sentence)]
        values = size.diameters_mm or (size.volume_mm3,)
        multiples = [number * factor for number in held for factor in (1, 10, 1000)]
        assert all(any(value == pytest.approx(multiple) for multiple in multiples) for value in values)


def test_a_column_of_sentences_becomes_a_size_table(tmp_path: Path) -> None:
    write_images(tmp_path / "scans", 2, "p{}/ct.nii.gz")
    reports = tmp_path / "reports.csv"
    reports.write_text(
        "image,findings\n"
        'p0,"Liver 16.2 × 11 × 9 cm. Segment VI lesion 2,3 × 1,8 cm, segment II lesion 9 mm. Aorta 2 cm. '
        'Impression: 1,8 × 2,3 cm lesion in the right lobe."\n'
        "p1,Liver 15 x 10 x 9\n"
    )
    arguments = (reports, "--scans", tmp_path / "scans", "--text", "findings")
    said = problems(*arguments)
    assert "row 3, 'Liver 15 x 10 x 9': 'liver 15 x 10 x 9' has no unit" in said
    assert "left out:" in said
    assert "'2 cm' is beside no structure that is looked for" in said
    scan, first, second = rows_of(tmp_path / "sizes.csv")
    assert (scan["image"], scan["liver diameters_mm"]) == ("p0/ct.nii.gz", "162 x 110 x 90")
    assert scan["comment"] == "liver: reports.csv, row 2 'Liver 16.2 × 11 × 9 cm.'"
    assert (first["lesion"], first["lesion diameters_mm"]) == ("Segment VI", "23 x 18")
    assert (second["lesion"], second["lesion diameters_mm"]) == ("segment II", "9")
    rows = table(*arguments, "--unit", "cm", "--structure", "liver")
    assert [row["liver diameters_mm"] for row in rows] == ["162 x 110 x 90", "150 x 100 x 90"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("image,findings\np0,liver 3 cm\n", (), "If one holds sentences of reports, name it: --text COLUMN"),
        ("image,findings\np0,liver 3 cm\n", ("--text", "finding"), "Did you mean 'findings'?"),
        (
            "Reports of 2024\nimage,findings\np0,liver 3 cm\n",
            ("--text", "findings"),
            "found no column 'findings', but Reports of 2024. Row 2 has it: delete the rows above.",
        ),
        ("name,findings\np0,liver 3 cm\n", ("--text", "findings"), "found no column that tells the scan"),
        ("image,findings\np0,liver 3 cm, lesion\n", ("--text", "findings"), "row 2: found 3 cells, expected 2"),
        ("image,findings\np7,liver 3 cm\n", ("--text", "findings"), "(named 'p7'), expected one"),
        (
            "image,findings\np0,liver 3 cm. Liver 5 cm.\n",
            ("--text", "findings"),
            "found 'liver' of 65.45 mL, but 14.14",
        ),
    ],
)
def test_tables_of_sentences_that_leave_something_open(
    tmp_path: Path, text: str, options: tuple[str, ...], message: str
) -> None:
    write_images(tmp_path / "scans", 1, "p{}/ct.nii.gz")
    (tmp_path / "reports.csv").write_text(text)
    assert message in problems(tmp_path / "reports.csv", "--scans", tmp_path / "scans", *options)


def test_cells_that_hold_no_text_are_named(tmp_path: Path) -> None:
    write_images(tmp_path / "scans", 3, "p{}/ct.nii.gz")
    workbook = openpyxl.Workbook()
    for row in (
        ["image", "PatientID", "findings", "age"],
        ["p0", "A", "liver 15 x 12 x 9 cm", "=1+1"],
        ["p1", "B", '=A1 & ""', 1],
        ["p2", datetime.date(2024, 3, 1), "liver 3 cm", 1],
    ):
        workbook.active.append(row)
    workbook.save(tmp_path / "reports.xlsx")
    said = problems(tmp_path / "reports.xlsx", "--scans", tmp_path / "scans", "--text", "findings")
    assert "row 3, column 'findings' holds the formula =A1 & \"\", whose result is not in the file" in said
    assert "row 4, column 'PatientID' holds a date or time, 2024-03-01" in said
    (row,) = rows_of(tmp_path / "sizes.csv")
    assert row["image"] == "p0/ct.nii.gz"


def test_sentences_of_which_none_can_be_read_are_named_and_no_table_is_written(tmp_path: Path) -> None:
    write_images(tmp_path / "scans", 1, "p{}/ct.nii.gz")
    reports = tmp_path / "reports.csv"
    reports.write_text('image,findings\np0,"Befund: Aorta 2,3 cm."\n')
    said = problems(reports, "--scans", tmp_path / "scans", "--text", "findings")
    assert "row 2, 'Befund: Aorta 2,3 cm.': '2,3 cm' is beside no structure that is looked for" in said
    assert "No table was written." in said
    assert not (tmp_path / "sizes.csv").exists()


@pytest.mark.parametrize(("option", "found"), [("=", "no name"), ("a volume_ml=liver", "the column 'a volume_ml'")])
def test_a_structure_without_a_name_of_its_own_is_refused(tmp_path: Path, option: str, found: str) -> None:
    result = measurements(tmp_path, "--output", tmp_path / "sizes.csv", "--structure", option)
    assert result.exit_code == 2
    assert f"--structure '{option}': found {found}, expected a structure." in result.output
