"""Structures of a cohort, with the rows of a size table and the masks that belong to its scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medsize.cohort.conversion.pictures import MaskOptions, colour_faults
from medsize.cohort.conversion.scans import Converted, Converter, MaskFiles, convert_scans, identify_by_folder
from medsize.cohort.find import CohortScan, FoundCohort
from medsize.cohort.sizes.unpaired import unpaired
from medsize.cohort.structures import choose_structures, holds, masks_of, names_held
from medsize.data.load_cohort import organs_of
from medsize.errors import ProblemsError
from medsize.progress_bar import with_progress
from medsize.sizes.table.match_rows import MatchedRows, match_rows
from medsize.sizes.table.size_table import SizeTable

__all__ = ["Matched", "match_cohort"]


@dataclass(frozen=True)
class Matched:
    """Rows of the table and masks, matched to their scans."""

    found: FoundCohort
    structures: tuple[str, ...]
    """Names of the classes but the background."""
    table: SizeTable | None
    rows: MatchedRows
    organs: Mapping[str, str] = field(default_factory=dict)
    """Organ of each structure."""

    def masks(self, scan: CohortScan) -> MaskFiles:
        """Return the masks of a scan; none if a table has the sizes, and the masks do not show all structures."""
        return masks_of(scan, self.structures) if self.table is None or holds(scan, self.structures) else ()

    def sources(self, converted: Converted) -> dict[str, str]:
        """Return the names of the scans that converted images come from, by image."""
        names = {scan.scan.source: scan.name for scan in self.found.scans}
        return {image: names[scan.source] for image, scan in converted.scans.items()}

    def convert(self, converter: Converter) -> Converted:
        """Write all scans and the usable masks as NIfTI without identifiers."""
        pairs = [(scan.scan, self.masks(scan)) for scan in self.found.scans]
        identify = identify_by_folder(converter, [scan for scan, _ in pairs])
        return convert_scans(converter, with_progress(pairs, "converting"), identify)

    def summary(self) -> list[str]:
        """Return lines with the structures, and with the masks that were left out."""
        lines = [f"structures: {', '.join(f'{i} {name}' for i, name in enumerate(self.structures, start=1))}"]
        twice = sum(bool(scan.drawn and scan.named) for scan in self.found.scans)
        if twice:
            lines.append(f"left out: image files of masks of {twice} scans that have SEG or RTSTRUCT, too")
        unused = sum(scan.has_masks and not self.masks(scan) for scan in self.found.scans)
        if self.table is not None and unused:
            lines.append(f"left out: masks of {unused} scans, which do not show all structures of {self.table.source}")
        return lines


def match_cohort(
    found: FoundCohort,
    table: SizeTable | None,
    wanted: Sequence[str],
    inside: Mapping[str, str] | None = None,
    masks: MaskOptions | None = None,
) -> Matched:
    """
    Find the structures, and the scan of each row of a size table.

    Args:
        found: the cohort.
        table: the size table.
        wanted: names of the structures. Default if empty: those of the table or the masks, other than organs.
        inside: organ, or structure, that each structure lies in. Default: none.
        masks: options for masks that are pictures.

    Raises:
        ProblemsError: with all problems, when nothing can be prepared.
    """
    rows = MatchedRows() if table is None else match_rows(table, {scan.name: scan.scan for scan in found.scans})
    of_table = [] if rows.scans and not rows.problems else list(unpaired(found, rows))
    structures: list[str] = []
    others = list(found.problems)
    try:
        structures = choose_structures(found, wanted, table, masks)
        if not wanted and inside and all(names_held(scan, structures) for scan in found.scans if scan.has_masks):
            structures = [name for name in structures if name in inside or name not in inside.values()]
    except ValueError as e:
        others.append(str(e))
    if table is not None and structures and (unknown := sorted(set(table.structures) - set(structures))):
        of_table.append(
            f"it has sizes of {', '.join(unknown)}, which --structure does not name. Name them, too, or delete their "
            "columns."
        )
    if of_table or not structures:
        source = f"{table.source}, {found.folder}" if table is not None and of_table else found.folder
        raise ProblemsError(source, [*of_table, *others])
    if masks is not None and (unknown_names := list(colour_faults(masks.colours, structures))):
        raise ProblemsError("--mask-colour", unknown_names)
    faults: list[str] = []
    organs = organs_of(inside, structures, faults)
    if faults:
        raise ProblemsError("--inside", faults)
    return Matched(found, tuple(structures), table, rows, dict(zip(structures, organs, strict=False)))
