"""
Sizes in sentences of reports, by a small grammar that refuses rather than guesses.

A sentence states a size in one of these forms, and in no other:

    [LOCATION] STRUCTURE [FILLERS] SIZE [AXIS] [in LOCATION]      segment VI lesion measures 2,3 × 1,8 cm
    LESION in LOCATION measuring SIZE                             lesion in segment VI measuring 2,3 × 1,8 cm
    LESION in LOCATION, SIZE                                      Herd im Segment VI, 2,3 × 1,8 cm
    SIZE [up to two ADJECTIVES] STRUCTURE [in LOCATION]           2.3 cm hypodense lesion in segment VI

SIZE is one to three lengths or a volume, with a unit: ``16.2 × 11 × 9 cm``, ``23 mm × 1.8 cm``, ``1510 ml``. Of lesions
it may be a list: ``12, 15 and 31 mm``, ``12 mm and 15 mm``. The last form is for lesions alone: "5 mm liver" may be
the thickness of slices. A lesion may have a number, ``lesion 2: 12 mm``, which is its name and not a size. Between
structure and size stand only words that say nothing else, such as "measures" or "about". Words of another time, of a
limit, a distance or a part, such as "previously", "up to", "from" or "lobe", refuse the size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from medsize.measurements.ucum import LENGTH, VOLUME, parse_unit
from medsize.sizes.table.spreadsheet import parse_number

__all__ = ["LESIONS", "ORGANS", "Refusal", "TextSize", "sizes_in"]

ORGANS = (
    *(("liver", "Leber"), ("spleen", "Milz"), ("pancreas", "Pankreas"), ("kidney", "Niere")),
    *(("left kidney", "linke Niere"), ("right kidney", "rechte Niere"), ("prostate", "Prostata"), ("uterus",)),
    *(("thyroid", "Schilddrüse"), ("heart", "Herz"), ("gallbladder",), ("bladder",), ("left ovary",)),
    *(("right ovary",), ("ovary",), ("left adrenal",), ("right adrenal",), ("brain", "Gehirn"), ("stomach",)),
)
LESIONS = (
    *(("lesion", "Läsion", "Herd"), ("tumour", "tumor"), ("mass", "Raumforderung"), ("nodule", "Rundherd")),
    *(("metastasis", "Metastase"), ("cyst", "Zyste"), ("lymph node", "Lymphknoten"), ("abscess",)),
    *(("haematoma", "hematoma"), ("adenoma",), ("carcinoma",), ("haemangioma", "hemangioma")),
)
"""Names of each structure in English and German; those of one structure mean the same."""
FILLERS = {
    *("measures", "measure", "measuring", "measured", "is", "are", "has", "with", "of", "a", "an", "the"),
    *("size", "sized", "diameter", "diameters", "length", "volume", "dimensions", "dimension", "estimated"),
    *("calculated", "at", "now", "currently", "about", "approximately", "approx", "ca", "circa", "roughly"),
    *("around", "long", "axis", "maximum", "max", "maximal", "greatest", "longest", "craniocaudal", "axial"),
    *("transverse", "and", "its", "in", "enlarged", "misst", "mit", "von", "einer", "einem", "der", "die"),
    *("das", "größe", "groß", "durchmesser", "etwa", "zirka", "ungefähr", "volumen"),
    *("volumen", "länge", "aktuell", "jetzt"),
}
AXES = {
    *("in", "size", "diameter", "length", "long", "large", "axis", "craniocaudal", "craniocaudally", "cc"),
    *("ap", "axial", "anteroposterior", "transverse", "sagittal", "coronal", "maximum", "max", "volume"),
    *("groß", "größe", "durchmesser", "the", "greatest", "longest", "dimension", "dimensions", "kraniokaudal"),
    *("plane", "short"),
}
"""Words that may follow a size."""
DIRECTIONS = {
    *(
        "length",
        "long",
        "width",
        "wide",
        "depth",
        "deep",
        "height",
        "high",
        "breadth",
        "broad",
        "short",
        "craniocaudal",
    ),
    *("craniocaudally", "cc", "ap", "axial", "anteroposterior", "transverse", "sagittal", "coronal"),
    *("länge", "lang", "breite", "breit", "tiefe", "tief", "höhe", "hoch", "kraniokaudal"),
}
"""Words that name one of several diameters."""
DOUBTS = {
    *("no", "not", "without", "none", "absent", "negative", "kein", "keine", "keinen", "ohne", "nicht"),
    *("never", "prior", "previous", "previously", "formerly", "former", "earlier", "before", "was", "were"),
    *("vorher", "zuvor", "compared", "comparison", "vergleich", "voruntersuchung", "vs", "versus", "vormals"),
    *("ehemals", "history", "since", "than", "less", "more", "over", "under", "above", "below", "least"),
    *("most", "up", "limit", "normal", "between", "bis", "über", "unter", "mindestens", "höchstens", "kleiner"),
    *("größer", "larger", "smaller", "threshold", "range", "cutoff", "from", "to", "distance", "abstand"),
    *("apart", "away", "margin", "thickness", "thick", "wall", "slice", "slices", "dicke", "schichtdicke"),
    *("increase", "increased", "decrease", "decreased", "grown", "growth", "reduction", "by", "if", "unless"),
    *("should", "would", "could", "possible", "resolution", "window", "step", "spacing", "each", "both", "per"),
    *("total", "sum", "or", "oder", "beide", "beides", "jeweils", "je", "resected", "expected", "planned"),
}
"""Words that may make a number another thing than the size of a structure now."""
PREPOSITIONS = {"in", "of", "within", "near", "at", "on", "to", "from", "im", "des", "der", "von", "vom", "am", "an"}
PARTS = {
    *("lobe", "segment", "pole", "part", "portion", "edge", "capsule", "cortex", "half", "third", "tail"),
    *("head", "tip", "lappen", "pol", "teil", "rand", "kapsel", "spitze", "dome", "hilum", "subsegment"),
}
"""Words that make a part of an organ of it."""

NUMBER = r"\d+(?:[.,]\d+)*"
UNIT = r"(?:(?:[cmd]|[µμu])m(?:\^?[23]|[²³])?|[mcdµu]?[lL]|cc|ccm|cubic [cm]m|cu [cm]m|inch|inches)(?![\w²³^])"
GAP = r"(?:\s*|[-‐‑])"
"""Text between a number and its unit: "3 cm", "3-cm"."""
TIMES = r"\s*(?:[x×X*]|by|mal)\s*"
ONE = rf"{NUMBER}(?:{GAP}{UNIT})?"
BARE_BEFORE = r"(?<![\w.,/:-])"
SPAN = re.compile(
    rf"{BARE_BEFORE}(?:"
    rf"(?P<date>\d+[./-]\d+[./-]\d+|\d+/\d+)(?![\w.,]\d)"
    rf"|(?P<range>{NUMBER}(?:{GAP}{UNIT})?\s*(?:-|–|to|bis)\s*{ONE})"
    rf"|(?P<list>{NUMBER}(?:\s*,\s+{NUMBER})*\s*(?:,\s*)?(?:and|und|&|\+)\s*{NUMBER}{GAP}{UNIT})(?!{TIMES}{NUMBER})"
    rf"|(?P<size>{ONE}(?:{TIMES}{ONE})*)"
    rf")(?![\w%°]|[.,]\d)"
)
"""Numbers that belong together."""
PART = re.compile(rf"({NUMBER})(?:{GAP}({UNIT}))?")
WITH_UNIT = re.compile(
    r"\S*?[\d½¼¾⅓⅔]\s*[-‐‑]?\s*"
    rf"(?:{UNIT}|(?:(?:cubic\s+)?(?:milli|centi|deci)met(?:er|re)|(?:milli|centi|deci)?lit(?:er|re))[sn]?\b|Zoll\b)",
    re.IGNORECASE,
)
"""Numbers with a unit, also in notations that are not read."""
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[^\sa-zäöü\d])|\s*[;\n\r]+\s*")
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
INSIDE = re.compile(
    r"\s*(?:in|within|im)\s+(?:(?:the|der)\s+)?([^,;:()\d]+?)"
    r"(?:\s+(?=(?:measures|measuring|measured|misst)\b)|\s*(,)\s*)(.*)",
    re.IGNORECASE,
)
"""Words that locate a lesion between it and its size, before a verb or a comma."""
NUMBER_OF_LESION = re.compile(
    r"\s*(?:#|no\.|nr\.)?\s*(?P<number>\d{1,3})"
    r"(?=\s*(?:(?P<mark>[:(]|,(?!\d))|(?:is|has|with|measures|measuring|measured|misst)\b))",
    re.IGNORECASE,
)
"""Number behind the name of a lesion, before its size: "lesion 2: 12 mm", "lesion 2 measures 12 mm"."""
CONTINUED = re.compile(r"\s*,?\s*(?:and|und|&|\+)?\s*", re.IGNORECASE)
"""Text between two sizes of the same structure."""
BOUNDARY = re.compile(r"[,:()\[\]]")
TOGETHER = "Write them together: 15 × 12 × 8 cm"


@dataclass(frozen=True)
class TextSize:
    """A size that a sentence states."""

    structure: str
    sentence: str
    diameters_mm: tuple[float, ...] = ()
    volume_mm3: float | None = None
    location: str = ""
    """Words that tell lesions apart."""


@dataclass(frozen=True)
class Refusal:
    """A number that is not taken for a size, and the reason."""

    sentence: str
    reason: str
    asks: bool = False
    """True if a person's answer would make it a size."""


@dataclass
class _Sizes:
    accepted: list[TextSize] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    number: str = ""
    """The last number, if it is accepted."""

    def refuse(self, sentence: str, reason: str, asks: bool = False) -> None:
        self.refused.append(Refusal(sentence, reason, asks))
        self.number = ""


class _RefusedError(ValueError):
    """Reason why a number is not taken for a size."""


def sizes_in(text: str, names: Sequence[str] = (), unit: str = "") -> tuple[list[TextSize], list[Refusal]]:
    """
    Return the sizes that a text states, and the numbers with a unit, or beside a structure, that were refused.

    Args:
        text: sentences of a report.
        names: structures to look for, in any case and with a plural s, also by their other names in ``ORGANS`` and
            ``LESIONS``. Default if empty: all of these, under their first names.
        unit: unit of lengths that have none. Default if empty: ask.
    """
    vocabulary = _vocabulary(tuple(names) or tuple(first for first, *_ in (*ORGANS, *LESIONS)))
    found = _Sizes()
    for sentence in filter(None, (part.strip() for part in SENTENCE_END.split(text))):
        _read(" ".join(sentence.split()), vocabulary, unit, found)
    return found.accepted, found.refused


class _Vocabulary:
    """Names of structures, and where a text has them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = {" ".join(re.split(r"[\s_]+", name.casefold())): name for name in names}
        for same in (*ORGANS, *LESIONS):
            plain = [name.casefold() for name in same]
            if wanted := next((self.names[name] for name in plain if name in self.names), None):
                self.names = dict.fromkeys(plain, wanted) | self.names
        alternatives = "|".join(
            r"[\s_-]+".join(map(re.escape, name.split())) for name in sorted(self.names, key=len, reverse=True)
        )
        self.pattern = re.compile(rf"(?<![\w-])({alternatives})e?[sn]?(?![\w-])", re.IGNORECASE)

    def find(self, text: str) -> list[tuple[str, re.Match[str]]]:
        """Return the structures in a text, and their places."""
        matches = self.pattern.finditer(text)
        return [(self.names[" ".join(re.split(r"[\s_-]+", match[1].casefold()))], match) for match in matches]


@cache
def _vocabulary(names: tuple[str, ...]) -> _Vocabulary:
    return _Vocabulary(names)


def _read(sentence: str, vocabulary: _Vocabulary, unit: str, found: _Sizes) -> None:
    text, numbers = _without_numbers_of_lesions(sentence, vocabulary)
    start, last, is_single = 0, None, False
    matches = list(SPAN.finditer(text))
    spans, dates = [m for m in matches if not m["date"]], [m for m in matches if m["date"]]
    for number, span in enumerate(spans):
        end = spans[number + 1].start() if number + 1 < len(spans) else len(text)
        before, after = text[start : span.start()], text[span.end() : end]
        has_unit = re.search(UNIT, span[0]) is not None
        is_size = has_unit or len(PART.findall(span[0])) > 1
        names_lesion = any(not _is_organ(name) for name, _ in vocabulary.find(before))
        if names_lesion and span[0].isdigit() and WITH_UNIT.search(text, span.end()):
            continue  # the size has a unit, so that this may be the number of the lesion
        if found.number and has_unit and _along_another_direction(before, after):
            size = found.accepted.pop()
            found.refuse(size.sentence, f"'{size.structure} {found.number}' is one of several diameters. {TOGETHER}")
            last = None
        try:
            is_continued = last is not None and bool(before.strip()) and CONTINUED.fullmatch(before) is not None
            if last is not None and is_continued:
                structure, location, used = last, "", 0
                if not _is_organ(last):
                    _check_after(after, last)
            elif is_size or vocabulary.find(before):
                if any(date.end() <= span.start() for date in dates):
                    raise _RefusedError("stands behind a date, and may be of another day.")
                structure, location, used = _structure(before, after, vocabulary, text[: span.start()])
                number_of_lesion = next((n for at, n in numbers.items() if start <= at < span.start()), "")
                location = number_of_lesion or location
                is_single = _is_organ(structure) or bool(number_of_lesion)
            else:
                continue  # a count, or the number of an image
        except _RefusedError as e:
            if is_size:
                found.refuse(sentence, f"'{span[0]}' {e}")
                start, last = span.end(), None
            continue
        start = span.end() + used
        try:
            if is_continued and is_single:
                found.accepted.pop()
                raise _RefusedError("is a second size of the same structure, expected one.")
            sizes = _sizes(span, unit, is_single)
        except _RefusedError as e:
            asks = not has_unit and not span["range"]
            found.refuse(sentence, f"'{structure} {span[0]}' {e}", asks)
            last = None
            continue
        several = is_continued or len(sizes) > 1
        if is_continued and not found.accepted[-1].location:
            found.accepted[-1] = replace(found.accepted[-1], location=f"{structure} {len(found.accepted)}")
        for diameters, volume in sizes:
            told = f"{structure} {len(found.accepted) + 1}" if several else location
            found.accepted.append(TextSize(structure, sentence, diameters, volume, told))
        last = structure
        found.number = "" if found.accepted[-1].volume_mm3 else span[0]
    for match in WITH_UNIT.finditer(text):
        if not any(span.start() < match.end() <= span.end() for span in spans):
            found.refuse(sentence, f"'{match[0]}' cannot be read, expected a number such as 12.5 mm.")


def _without_numbers_of_lesions(sentence: str, vocabulary: _Vocabulary) -> tuple[str, dict[int, str]]:
    """Return a sentence with blanks for the numbers behind names of lesions, and these numbers by their places."""
    text, numbers = sentence, {}
    for name, match in vocabulary.find(sentence):
        number = NUMBER_OF_LESION.match(sentence, match.end())
        if number is None or _is_organ(name) or match[0] != match[1]:  # a plural has several sizes, and no number
            continue
        size = SPAN.search(sentence, number.end())
        if size is None or not _words(sentence[number.end() : size.start()]) <= FILLERS:
            continue
        if number["mark"] not in ("(", ",") or re.search(UNIT, size[0]):  # "lesion 12 (15)" may state two sizes
            text = text[: match.end()] + " " * len(number[0]) + text[number.end() :]
            numbers[number.start("number")] = number["number"]
    return text, numbers


def _along_another_direction(before: str, after: str) -> bool:
    """Return whether a number is a second diameter of the structure before it: "15 cm long, 12 cm wide"."""
    words = _words(before) | _words(BOUNDARY.split(after)[0])
    return bool(words & DIRECTIONS) and words <= DIRECTIONS | FILLERS | AXES


def _structure(before: str, after: str, vocabulary: _Vocabulary, whole_before: str) -> tuple[str, str, int]:
    """Return the structure that a size is of, the words that locate it, and how much of the text behind that takes."""
    if re.search(r"[<>≤≥±/+-]\s*$", before):
        raise _RefusedError("is a limit or a range, expected a size.")
    named = vocabulary.find(before)
    if named:
        structure, match = named[0]
        between = before[match.end() :]
        inside = None if _is_organ(structure) else INSIDE.fullmatch(between)
        # Behind a comma, the size may be that of an organ that the words name.
        if inside and (_words(inside[1]) & (DOUBTS | {"and", "und"}) or (inside[2] and _organs().find(inside[1]))):
            inside = None
        if inside:
            named = [(name, m) for name, m in named if m.start() == match.start() or not _is_organ(name)]
            between = inside[3]
        if len(named) > 1:
            raise _RefusedError(f"stands behind {len(named)} structures, expected one beside it.")
        if re.search(r"\d", between) or not _words(between) <= FILLERS:
            raise _RefusedError(f"does not follow '{structure}' directly.")
        location = BOUNDARY.split(before[: match.start()])[-1]
        _check_before(location, structure, whole_before)
        where = _check_after(after, structure)
        words = re.sub(
            r"^\W*(?:(?:and|und|the|a|an|ein|eine|der|die|das|now)\b\W*)*", "", location, flags=re.IGNORECASE
        )
        return structure, inside[1] if inside else words.strip() or where, 0
    return _behind(before, after, vocabulary)


def _behind(before: str, after: str, vocabulary: _Vocabulary) -> tuple[str, str, int]:
    """Return the lesion that stands behind its size, the words that locate it, and where it ends."""
    clause = BOUNDARY.split(after)[0]
    named = vocabulary.find(clause)
    if not named:
        raise _RefusedError("is beside no structure that is looked for.")
    structure, match = named[0]
    adjectives = WORD.findall(clause[: match.start()])
    if len(adjectives) > 2 or re.search(r"[^\w\s-]|\d", clause[: match.start()]) or _is_organ(structure):
        raise _RefusedError(f"does not stand directly before a lesion, but before '{structure}'.")
    if doubts := (_words(before) | _words(clause)) & DOUBTS:
        raise _RefusedError(f"stands beside '{min(doubts)}'.")
    if set(map(str.lower, adjectives)) & (PREPOSITIONS | PARTS | {"and", "und"}):
        raise _RefusedError(f"does not stand directly before '{structure}'.")
    rest = clause[match.end() :]
    if rest.strip() and not re.match(r"\s*(?:[.!?]|(?:in|within|im|at|is|are|and|und|with|of)\b)", rest, re.IGNORECASE):
        raise _RefusedError(f"stands before '{structure}{rest}', expected the lesion alone.")
    return structure, _location(rest), match.end()


def _check_before(location: str, structure: str, whole_before: str) -> None:
    words = _words(location)
    lead = re.sub(r"^\W*(?:and|und)\b", "", location.strip(), flags=re.IGNORECASE)
    if doubts := _words(whole_before) & DOUBTS:
        raise _RefusedError(f"stands behind '{min(doubts)}'.")
    if _words(lead) & (PREPOSITIONS | {"and", "und"}):
        raise _RefusedError(f"may not be of '{structure}', but of something that it is named with.")
    if _is_organ(structure) and words & PARTS:
        raise _RefusedError(f"may be of a part of '{structure}'.")


def _check_after(after: str, structure: str) -> str:
    """Return the words that locate a lesion behind its size."""
    clause = BOUNDARY.split(after)[0].strip()
    rest = clause.rstrip(".!? ")
    if doubts := _words(rest) & DOUBTS:
        raise _RefusedError(f"stands before '{min(doubts)}'.")
    first = re.match(r"(?:and|und|&|\+)(?!\w)", rest, re.IGNORECASE)
    if not rest or first or (_words(rest) <= AXES and not re.search(r"\d", rest)):
        return ""
    if re.match(r"(?:in|within|im)\b", rest, re.IGNORECASE) and not _is_organ(structure):
        return _location(rest)
    raise _RefusedError(f"is followed by '{rest}', expected the end of the clause.")


def _location(rest: str) -> str:
    match = re.match(r"\s*(?:in|within|im)\s+(?:the\s+|der\s+)?([^.,;!?]+)", rest, re.IGNORECASE)
    return match[1].strip() if match else ""


def _sizes(span: re.Match[str], unit: str, is_single: bool) -> list[tuple[tuple[float, ...], float | None]]:
    """Return the diameters or the volume of each structure that numbers are the size of."""
    if span["range"]:
        raise _RefusedError("is a range, expected one size.")
    parts = PART.findall(span[0])
    units = [of_one for _, of_one in parts]
    if units[-1] == "" and any(units):
        raise _RefusedError("has a unit at some numbers only, expected one at the last or at each.")
    if not any(units) and not unit:
        raise _RefusedError("has no unit, expected one. Write it into the text, or state it: --unit cm")
    if any(units[:-1]) and not all(units):
        raise _RefusedError("has a unit at some numbers only, expected one at the last or at each.")
    if span["list"] and (is_single or any("," in number for number, _ in parts)):
        raise _RefusedError("is a list, expected one size.")
    try:
        numbers = [parse_number(number) for number, _ in parts]
        factors = [parse_unit(of_one or units[-1] or unit) for of_one in units]
    except ValueError as e:
        raise _RefusedError(f"cannot be read: {e}.") from e
    if min(numbers) <= 0:
        raise _RefusedError("is 0, expected a size.")
    powers = {power for _, power in factors}
    values = [number * factor for number, (factor, _) in zip(numbers, factors, strict=True)]
    if powers == {LENGTH}:
        if span["list"]:
            return [((value,), None) for value in values]
        if len(values) > 3:
            raise _RefusedError(f"has {len(values)} diameters, expected at most 3.")
        return [(tuple(values), None)]
    if powers == {VOLUME} and (len(values) == 1 or span["list"]):
        return [((), value) for value in values]
    raise _RefusedError("is not one to three lengths or a volume.")


def _organs() -> _Vocabulary:
    return _vocabulary(tuple(first for first, *_ in ORGANS))


def _is_organ(structure: str) -> bool:
    return structure.casefold() in _organs().names


def _words(text: str) -> set[str]:
    return {word.lower() for word in WORD.findall(text)}
