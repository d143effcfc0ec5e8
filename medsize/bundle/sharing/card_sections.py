"""Sections of a bundle's README on the weights of a run: how to apply them, and what they reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from medsize.bundle.run.summary import RunSummary
from medsize.data.size_unit import ML, SizeUnit

__all__ = [
    "Metric",
    "card_of_merged_configs",
    "inference_command",
    "performance",
    "stated_metrics",
    "unit_of_sizes",
    "write_card_of_run",
]

OF_PICTURES = "\n\nOf pictures"
"""Beginning of the paragraph on pictures in a model card's section on the output."""
PICTURE_OUTPUT = """\
One channel of logits for each class, background first. Inference takes the softmax back to the picture's pixels. It
writes the most likely class of each as a PNG mask (`…_seg.png`), and the areas in {unit}, and as fractions, to
`areas.csv`. Its last column names structures at the edge of the picture: their areas are lower bounds. `areas.json`
also has the interval of each area. Both are written when all pictures are done; until then `areas.jsonl` has a line for
each.
"""
"""Section on the output of a network of pictures."""
ITEM = re.compile(r"^- .*\n(?:  .*\n)*", re.MULTILINE)
"""An item of a list in a model card."""


def card_of_merged_configs(
    card: str, overlay: str | None, train: Mapping[str, Any], inference: Mapping[str, Any]
) -> str:
    """
    Return a bundle's README with the network and the input of its merged configs, and nothing on a merged overlay.

    Args:
        card: text of the README.
        overlay: name of the overlay that was merged, or ``None``.
        train: keys of the merged ``train.yaml``.
        inference: keys of the merged ``inference.yaml``.
    """
    kind = train["network_def"]["_target_"].rpartition(".")[2]
    own = f"- Network: {kind}, as `configs/train.yaml` defines it.\n"

    def of_this_bundle(item: re.Match[str]) -> str:
        if item[0].startswith("- Network: "):
            return own
        return "" if overlay is not None and overlay in item[0] else item[0]

    card = ITEM.sub(of_this_bundle, card)
    shape = ",".join(map(str, (inference["in_channels"], *inference["roi_size"])))
    return re.sub(r'(--input_shape "\[\d+,)[\d,]+', rf"\g<1>{shape}", card)


def write_card_of_run(file: Path, settings: Mapping[str, Any], summary: RunSummary, cases: pd.DataFrame) -> None:
    """
    Replace the sections on the bundle's own weights by those on a run's, and begin with what a user of these needs.

    Args:
        file: README of the bundle, which is written anew.
        settings: of the run's inference.
        summary: of the run.
        cases: its ``metrics.csv``.
    """
    beginning, *parts = re.split("^## ", file.read_text(), flags=re.MULTILINE)
    others = dict(part.split("\n", 1) for part in parts)
    first = {
        "Use": _use(settings, summary.roi),
        "Output": PICTURE_OUTPUT.format(unit=unit_of_sizes(settings).name)
        if _sees_pictures(settings, summary.roi)
        else others["Output"].partition(OF_PICTURES)[0],
        "Input": others["Input"],
        "Performance": performance(summary, cases, settings),
        "Data": _data(summary),
    }
    sections = [f"## {title}\n\n{text.strip()}\n" for title, text in (first | others | first).items()]
    file.write_text("\n".join([f"{beginning.strip()}\n", *sections]))


def _use(settings: Mapping[str, Any], roi: bool) -> str:
    return f"""\
The weights in `models` segment: {", ".join(settings["structures"])}.

```bash
# BUNDLE: folder of this bundle
{inference_command(settings, roi)}
```"""


def _sees_pictures(settings: Mapping[str, Any], roi: bool) -> bool:
    return unit_of_sizes(settings).is_flat and not roi  # regions are stated for NIfTI


def inference_command(settings: Mapping[str, Any], roi: bool = False) -> str:
    """
    Return the command of MONAI that applies an exported bundle, with a comment on what it needs.

    Args:
        settings: of its inference.
        roi: it was trained on regions of interest. Defaults to False.
    """
    if roi:
        files, needs = ["inference_roi.yaml"], "scans and their regions come from DATA/datalist.json; needs MONAI only"
        options = "--dataset_dir DATA"
    elif _sees_pictures(settings, roi):
        files, needs = ["inference_pictures.yaml"], "segment a folder of pictures; needs MONAI only"
        options = '--dataset_dir PICTURES --image_pattern "*.png"'
        if unit_of_sizes(settings).name != "px":
            needs, options = f"{needs}; pixel_mm is the side of a pixel", f"{options} --pixel_mm 0.1"
    else:
        files, needs = [], "segment a folder of NIfTI; needs MONAI only"
        options = "--dataset_dir SCANS"
    configs = [f"BUNDLE/configs/{name}" for name in ("inference.yaml", *files)]
    listed = '"[' + ",".join(f"'{name}'" for name in configs) + ']"' if files else configs[0]
    return f"""\
# {needs}
python -m monai.bundle run --bundle_root BUNDLE --config_file {listed} \\
  {options} --output_dir SEGMENTATIONS"""


def _data(summary: RunSummary) -> str:
    return f"""\
The weights in `models` were trained on {summary.training_scans} scans, whose licence belongs in
`docs/data_license.txt`. No data is part of this bundle.

To train on your own scans, make a data list: `docs/cohorts.md` of medsize's repository explains its keys. In training,
`num_classes` follows the data list."""


class Metric(NamedTuple):
    """A metric as metadata and README state it."""

    column: str
    """Column of ``metrics.csv``."""
    name: str
    """Name in the metadata."""
    title: str
    factor: float = 1.0
    """Factor from the unit of the column to that of the title."""


def unit_of_sizes(settings: Mapping[str, Any]) -> SizeUnit:
    """
    Return the unit of the sizes of a run: pixels or mm² if it was trained on pictures, else mL.

    Args:
        settings: of its inference. Those of pictures have no known size of the pixels, or fit them to the window.
    """
    if settings.get("length_unit") == "px":
        return SizeUnit("px", 1.0)
    return SizeUnit("mm²", 1.0) if settings.get("fit_to_window") else ML


def stated_metrics(settings: Mapping[str, Any]) -> list[Metric]:
    """
    Return the metrics to state, in the units of a run: sizes of pictures are areas, whose slice counts as 1 mm.

    Args:
        settings: of the run's inference.
    """
    length, unit = settings.get("length_unit", "mm"), unit_of_sizes(settings)
    size = ("area_error_" + unit.name.replace("²", "2")) if unit.is_flat else "volume_error_ml"
    title = f"{'area' if unit.is_flat else 'volume'} error ({unit.name})"
    return [
        Metric("dice", "dice", "Dice"),
        Metric("hd95_mm", f"hd95_{length}", f"HD95 ({length})"),
        Metric("volume_error_ml", size, title, ML.of_one / unit.of_one),
        Metric("relative_size_error", "relative_size_error", "relative size error"),
    ]


def performance(summary: RunSummary, cases: pd.DataFrame, settings: Mapping[str, Any]) -> str:
    """
    Return the results of a run as Markdown: how it was trained, and a table of its metrics by structure.

    Args:
        summary: of the run.
        cases: its ``metrics.csv``.
        settings: of its inference, which tell the units.
    """
    metrics = stated_metrics(settings)
    lines = [
        *([f"**{summary.doubt[0].upper()}{summary.doubt[1:]}**", ""] if summary.doubt else []),
        f"{cases['image'].nunique()} validation scans of {cases['subject'].nunique()} subjects. Trained on "
        f"{summary.training_scans} scans, supervision: {summary.supervision}, seed {summary.seed}, "
        f"{summary.epochs} epochs. Mean ± standard deviation over the scans:",
        "",
        "| structure | " + " | ".join(metric.title for metric in metrics) + " |",
        "| --- |" + " --- |" * len(metrics),
    ]
    for structure, rows in cases.groupby("structure", sort=False):
        cells = [_mean_and_spread(rows[metric.column] * metric.factor) for metric in metrics]
        lines.append(f"| {structure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean_and_spread(values: pd.Series) -> str:
    return "–" if values.isna().all() else f"{values.mean():.2f} ± {values.std(ddof=0):.2f}"
