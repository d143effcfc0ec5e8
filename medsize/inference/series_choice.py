"""The DICOM series of an export that a network was trained for."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsize.bundle.run.inference_settings import inference_settings
from medsize.bundle.run.summary import RunSummary
from medsize.metrics.reliability import CohortFacts, geometry_doubts
from medsize.scans.scan import FoundScan
from medsize.scans.space.orientation import order_of_axes

__all__ = ["SeriesChoice"]

FORCE = "To segment it: --all-series"
MODALITIES = ("CT", "MR", "PT", "US", "NM", "CR", "DX", "MG", "XA", "RF")
"""Modalities of DICOM that are told apart."""
WORDS = {"MR": r"\bMRI?\b|\bFLAIR\b|\bT[12]", "PT": r"\bPET\b|\bPT\b", "CT": r"\bCT\b"}
"""Patterns of the words for them that data lists of the Decathlon use."""


@dataclass(frozen=True)
class SeriesChoice:
    """
    Series that a network was trained for: of its modality and, of several series of a study, of its geometry.

    If no series of a study has the usual geometry, none is left out for it: its flag tells.
    """

    modalities: Collection[str]
    """Empty: any."""
    cohort: CohortFacts
    """Values of the scans that the run was validated on."""
    orientation: str = ""
    """Codes of the axes that the network sees; empty: as scans are stored."""

    @classmethod
    def of(cls, run: Path, modalities: Collection[str] = ()) -> SeriesChoice:
        """
        Return the choice of a run's network.

        Args:
            run: output folder of the run.
            modalities: its modalities. Default: as the run's data list states them, if it is still there.
        """
        settings = inference_settings(run)
        facts = CohortFacts.read(settings.get("cohort_facts", {}))
        return cls(modalities or _stated_modalities(run), facts, settings.get("orientation", ""))

    def left_out(self, scans: Sequence[FoundScan]) -> dict[int, str]:
        """Return the reason why a series is left out, by its index."""
        reasons: dict[int, str] = {}
        doubts: dict[int, str] = {}
        fitting: set[tuple[str, str]] = set()
        for k, scan in enumerate(scans):
            if self.modalities and scan.modality and scan.modality not in self.modalities:
                expected = " or ".join(self.modalities)
                reasons[k] = f"its modality is {scan.modality}, expected {expected}. {FORCE}"
            elif scan.grid is not None:
                order = order_of_axes(scan.grid.affine, self.orientation)
                shape, spacing = [scan.grid.size[axis] for axis in order], [scan.grid.spacing[axis] for axis in order]
                if found := geometry_doubts(shape, spacing, self.cohort):
                    doubts[k] = "; ".join(found)
                else:
                    fitting.add(_study(scan))
        other = f"another series of the same study is like those of the validation. {FORCE}"
        return reasons | {k: f"{doubt}; {other}" for k, doubt in doubts.items() if _study(scans[k]) in fitting}


def _study(scan: FoundScan) -> tuple[str, str]:
    return scan.subject, scan.study


def _stated_modalities(run: Path) -> tuple[str, ...]:
    """Return the modalities of DICOM that a run's data list states; none if it states none that is known."""
    try:
        stated = json.loads(Path(RunSummary.read(run).data_list or "").read_text()).get("modality", {})
        texts = [str(text) for text in stated.values()]
    except (OSError, ValueError, AttributeError):  # the list has been moved, or is not of the Decathlon
        return ()
    kinds = {kind for text in texts for kind, words in WORDS.items() if re.search(words, text, re.IGNORECASE)}
    return tuple(sorted(kinds | {text for text in texts if text in MODALITIES}))
