"""Model card of a trained network: how it was trained, from which sizes, what it reached, and what was not tested."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from medsize.bundle.run.summary import RunSummary
from medsize.bundle.sharing.card_sections import inference_command, performance, unit_of_sizes
from medsize.data.data_list import DataList, Item, Lesions, parse_data_list

__all__ = ["NOT_MEASURED_BY", "CohortStatement", "ModelCard", "header", "model_card"]

UNITS = {"mm3": "mm³", "mL": "mL", "fraction": "fractions of the field of view"}
"""Units of sizes in data lists, in words."""
NOT_STATED = "**Not stated: write it here.**"
NOT_MEASURED_BY = "who measured the sizes, and how, is not stated"
"""End of a ``size_source`` that knows the table alone."""


class ModelCard(NamedTuple):
    """Text of a model card, in Markdown."""

    text: str
    missing: list[str]
    """Places in it that must be filled in by hand."""


@dataclass(frozen=True)
class CohortStatement:
    """Statements of a data list on its scans and their sizes."""

    source: Path | None = None
    """The data list; ``None`` if it is unknown."""
    name: str = ""
    described: str = ""
    """Name and reference."""
    size_source: str = ""
    """People and tools that the sizes come from, by the data list's key ``size_source``."""
    counted: str = ""
    """Number of scans, and of sizes of each kind."""
    structures_of_masks: bool = False
    """True if any scan has a mask."""

    @classmethod
    def of(cls, data_list: Path | None) -> CohortStatement:
        """
        Read the statements of a data list, which may be missing by now.

        Args:
            data_list: the data list.
        """
        if data_list is None or not data_list.is_file():
            return cls(data_list)
        content = parse_data_list(data_list.read_bytes(), data_list)
        stated = {key: str(value).strip() for key, value in (content.model_extra or {}).items()}
        name, reference = stated.get("name", ""), stated.get("reference", "")
        source = stated.get("size_source", "")
        if not source and "measured_with" in stated:
            source = "measured in drawn masks, so that they have no error but that of the masks"
        items = [*content.training, *content.validation]
        described = f"{name} ({reference})" if name and reference else name or reference
        masks = any(item.label for item in items)
        return cls(data_list, name, described, source, _counted(content, items), masks)


def _counted(content: DataList, items: Sequence[Item]) -> str:
    """Return the number of scans, of subjects, and of their sizes by kind."""
    subjects = {item.subject or item.image for item in items}
    volumes = [size for item in items for size in (item.size or {}).values()]
    slices = sum(item.slice_size is not None for item in items)
    kinds = {
        "as numbers": sum(isinstance(size, float) for size in volumes),
        "as lower and upper bounds": sum(isinstance(size, tuple) for size in volumes),
        "as lists of lesions": sum(isinstance(size, Lesions) for size in volumes),
        "unknown": sum(size is None for size in volumes),
    }
    unit = UNITS[content.size_unit or "mm3"]
    known = ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)
    lines = [f"The cohort has {len(items)} scans of {len(subjects)} subjects."]
    lines += [f"Sizes of whole structures ({unit}): {known}."] if known else []
    lines += [f"{slices} scans have sizes of slices."] if slices else []
    clicked = sum(bool(item.clicks or item.scribble) for item in items)
    return " ".join([*lines, *([f"{clicked} scans have clicks or scribbles."] if clicked else [])])


def header(metadata: Mapping[str, Any], cohort: CohortStatement, licence: str, image_type: str | None) -> str:
    """
    Return the YAML at the beginning of a model card on the Hugging Face hub.

    Args:
        metadata: of the bundle.
        cohort: statements of its data list.
        licence: of the weights, as the hub names it.
        image_type: type of the images, such as CT.
    """
    structures = _structures(metadata)
    tags = ["monai", "medical", "segmentation", "weak-supervision", *([image_type] if image_type else []), *structures]
    content: dict[str, Any] = {
        "license": licence,
        "library_name": "monai",
        "pipeline_tag": "image-segmentation",
        "tags": list(dict.fromkeys(_slug(tag) for tag in tags)),
    }
    if cohort.name:
        content["datasets"] = [re.sub(r"[^\w.-]+", "_", cohort.name)]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def model_card(
    metadata: Mapping[str, Any],
    summary: RunSummary,
    cohort: CohortStatement,
    cases: pd.DataFrame,
    licence: str,
    network: str,
    settings: Mapping[str, Any],
) -> ModelCard:
    """
    Return the model card of a run's network.

    Args:
        metadata: of its bundle, complete.
        summary: of the run.
        cohort: statements of its data list.
        cases: its ``metrics.csv``.
        licence: of the weights.
        network: its kind, such as "3D UNet".
        settings: of its inference, which tell the units.
    """
    size = "area" if unit_of_sizes(settings).is_flat else "volume"
    missing = []
    if not cohort.described:
        missing.append("the data: their source, scanners and patients")
    if not cohort.size_source or cohort.size_source.endswith(NOT_MEASURED_BY):
        missing.append("who measured the sizes, and how")
    sections = {
        metadata["name"]: f"{metadata['description']}. Authors: {metadata['authors']}.",
        "Data": f"{cohort.described or NOT_STATED}\n\n{cohort.counted} No data is part of this bundle.",
        "Sizes": _sizes(summary, cohort),
        "Training": _training(summary, network, settings),
        "Performance": performance(summary, cases, settings),
        f"Calibration of {size}s": _calibration(summary, size),
        "Intended use": _intended_use(metadata),
        "Not tested": _not_tested(summary, cases),
        "Commands": _commands(settings, summary.roi),
        "References": "\n".join(f"{i}. {line}" for i, line in enumerate(metadata["references"], start=1)),
        "Licence": f"Weights: {licence}; see `docs/data_license.txt`. "
        "Configs and scripts: Apache License 2.0, in `LICENSE`.",
    }
    titles = [f"# {metadata['name']}", *(f"## {title}" for title in list(sections)[1:])]
    parts = [f"{title}\n\n{text}\n" for title, text in zip(titles, sections.values(), strict=True)]
    return ModelCard("\n".join(parts), missing)


def _sizes(summary: RunSummary, cohort: CohortStatement) -> str:
    if "size" not in (summary.supervision or "size").split("+"):
        return "No sizes were used in the training."
    level = "each slice" if summary.size_level == "slice" else "each whole scan"
    lines = [
        f"- Level: a size for each structure in {level}. Masks of the same scans were not used, unless the training "
        "names them.",
        f"- Source: {cohort.size_source or NOT_STATED}",
    ]
    if summary.size_noise and summary.size_change:
        lines.append(
            f"- Errors: simulated ({summary.size_noise}), {summary.size_change:.0%} of the size in the mean of the "
            "training scans."
        )
    else:
        lines.append("- Errors: those of the source; none were added. They were not measured by the training.")
    if summary.size_detail != "given":
        lines.append(f"- Detail: {summary.size_detail}.")
    return "\n".join(lines)


def _training(summary: RunSummary, network: str, settings: Mapping[str, Any]) -> str:
    elements = "pixels" if unit_of_sizes(settings).is_flat else "voxels"
    spacing = summary.spacing and " × ".join(f"{s:g}" for s in summary.spacing)
    if settings.get("fit_to_window"):
        spacing = None  # each picture fills the window, whatever its scale
    rows = {
        "network": network,
        "labels": summary.supervision,
        "loss": "KL divergence of the average softmax from the size target, Potts term, agreement of two views [1]",
        "scans in the training": summary.training_scans,
        "epochs": summary.epochs,
        "seed": summary.seed,
        "first weights": summary.init and f"{summary.init}{_note_on_start(summary)}",
        f"{elements} ({settings.get('length_unit', 'mm')})": spacing,
        f"window ({elements})": summary.roi_size and " × ".join(map(str, summary.roi_size)),
        "cropped to a region of interest": "yes: inference needs it, too" if summary.roi else "no",
        "machine": summary.machine,
        "time (minutes)": summary.training_seconds and f"{summary.training_seconds / 60:.0f}",
        "peak memory (GB)": summary.peak_memory_mb and f"{summary.peak_memory_mb / 1024:.1f}",
        "versions": ", ".join(f"{name} {version}" for name, version in summary.versions.items()),
    }
    lines = [f"| {key} | {value} |" for key, value in rows.items() if value not in (None, "")]
    chosen = "The weights are those of the epoch with the least size error on the validation scans."
    return "\n".join(["| | |", "| --- | --- |", *lines, "", chosen])


def _note_on_start(summary: RunSummary) -> str:
    return " (of another model, whose licence holds, too)" if summary.init == "checkpoint" else ""


def _calibration(summary: RunSummary, size: str) -> str:
    if not summary.calibration:
        return f"The {size}s have no intervals."
    lines = [
        f"`{size}s.json`, which inference writes beside the masks, has an interval for each {size}: factors of the "
        f"predicted {size} from the validation scans, by split conformal prediction.",
        "",
        "| structure | level | low | high | subjects | note |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, of_one in summary.calibration.items():
        ends = ["–" if value is None else f"{value:.2f}" for value in (of_one.level, of_one.low, of_one.high)]
        lines.append(f"| {name} | {' | '.join(ends)} | {of_one.subjects} | {of_one.note or '–'} |")
    return "\n".join(lines)


def _intended_use(metadata: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            "Research on scans like those of the training. It is not a medical device.",
            "",
            "Out of scope:",
            "",
            "- diagnosis, and any decision on a patient;",
            f"- structures other than {', '.join(_structures(metadata))};",
            "- other modalities, scanners, ages and diseases than those of the cohort, until they are tested;",
            "- scans that show a structure in part: its volume is then a lower bound.",
        ]
    )


def _not_tested(summary: RunSummary, cases: pd.DataFrame) -> str:
    lines = [
        "- Scans of a test set: the figures are those of the validation scans, which also chose the epoch.",
        "- Scans of other sites, and differences between groups of patients.",
        "- Agreement with readers, and use by them.",
        "- TensorRT.",
    ]
    without = [str(name) for name, rows in cases.groupby("structure", sort=False) if rows["dice"].isna().all()]
    if without:
        lines.append(f"- Overlap (Dice) of {', '.join(without)}: no validation scan has a mask of it.")
    if summary.processes in (None, 1):
        lines.append(f"- Other seeds than {summary.seed}.")
    return "\n".join(lines)


def _commands(settings: Mapping[str, Any], roi: bool) -> str:
    return f"""\
```bash
{inference_command(settings, roi)}
# train on other scans; needs medsize
python -m monai.bundle run --bundle_root BUNDLE --config_file BUNDLE/configs/train.yaml \\
  --dataset_dir DATA --output_dir RUN
```"""


def _structures(metadata: Mapping[str, Any]) -> list[str]:
    return list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values())[1:]


def _slug(tag: str) -> str:
    return re.sub(r"[^\w]+", "-", tag.lower()).strip("-")
