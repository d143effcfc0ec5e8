"""Predictions: their table, their page and their pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medsize.files import atomic_write
from medsize.inference.report.intervals import calibration_of, told_intervals, with_intervals
from medsize.inference.report.page import Panel, Shown, draw_montage, write_page
from medsize.scans.scan import FoundScan

__all__ = ["Predicted"]


@dataclass(frozen=True)
class Predicted:
    """Sizes of the structures in the scans that were segmented."""

    table: pd.DataFrame
    """A row for each structure of each scan."""
    shown: Shown
    of_scans: Mapping[str, float]
    """Size of each whole scan or picture, by its path, in the unit of the table."""
    panels: list[Panel]
    """Those of the montage."""
    pictures: Mapping[str, bytes]
    """PNG of each scan, by its path."""
    scans: Mapping[str, FoundScan]
    """By name; those that have a NIfTI mask."""
    problems: Sequence[str]
    """Problems of the other scans, and of stated sizes."""
    flags: Sequence[str] = ()
    """Lines about the flags of the scans."""
    unchecked: str = ""
    """Line about checks that were not made."""

    def write(
        self,
        output_dir: Path,
        run: Path,
        report: Callable[[str], None],
        left_out: Sequence[str] = (),
        doubt: str = "",
    ) -> pd.DataFrame:
        """
        Write ``predictions.csv``, ``.json`` and ``.html``, with the intervals of the sizes, and ``montage.png``.

        Args:
            output_dir: folder to write to.
            run: run that has recorded the calibration.
            report: function that gets lines about lower bounds and flags.
            left_out: lines about series that were not segmented, for the page.
            doubt: why the network should not be used, for the page.

        Returns:
            the table with the intervals.
        """
        shown, calibration = self.shown, calibration_of(run)
        table = with_intervals(self.table, calibration, shown.column, self.of_scans)
        with atomic_write(output_dir / "predictions.csv") as file:
            table.to_csv(file, index=False, float_format="%.6g")
        with atomic_write(output_dir / "predictions.json") as file:
            table.to_json(file, orient="records", indent=1, double_precision=6)
        sizes = table.groupby("structure", sort=False)["fraction" if "fraction" in table else shown.column]
        missed = [f"{name} in {(of_one == 0).sum()} of {len(of_one)}" for name, of_one in sizes if (of_one == 0).any()]
        if missed:
            report(f"not found: {', '.join(missed)} {shown.noun}s")
        if bounds := int(table["lower_bound"].sum()):
            report(f"{bounds} of {len(table)} {shown.size}s are lower bounds: the structure reaches {shown.edge}")
        for line in (*self.flags, *([self.unchecked] if self.unchecked else ())):
            report(line)
        intervals = list(told_intervals(calibration))
        write_page(output_dir, table, shown, intervals, self.pictures, left_out, self.unchecked, doubt)
        draw_montage(output_dir, self.panels, list(dict.fromkeys(table["structure"])))
        return table
