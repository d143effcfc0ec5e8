"""
Contribution of a run to MONAI's model zoo, hosted in either way that the zoo takes.

The zoo's repository keeps bundles in ``models/``: weights lie elsewhere, at the addresses in ``large_files.yml``, until
the zoo fetches them and puts the whole bundle onto the Hugging Face hub. Models that stay in their authors' own
repository on the hub have a page in ``hf_models/``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from medsize.bundle.run.folder import INFERENCE, METRICS, check_finished
from medsize.bundle.run.inference_settings import inference_settings
from medsize.bundle.run.summary import RunSummary
from medsize.bundle.sharing.export import check_empty, export_bundle, whole_folder
from medsize.bundle.sharing.model_card import CohortStatement, header, model_card
from medsize.bundle.sharing.weights_licence import LICENCES, weights_licence

__all__ = ["HUB_SCHEMA", "Contributed", "Contribution", "export_for_zoo"]

HUB_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_hf_20250321.json"
)
"""Schema of the metadata of models in the zoo's ``hf_models``."""
MOST_BYTES = 25 * 2**20
"""Size of the largest file that the zoo's repository takes."""
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/(?P<name>[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)+)")
VERSIONED = re.compile(r".*_v\d.*")
"""Names that the zoo would take for a name and a version."""
VERSION = "0.1.0"
OF_THE_HUB = (
    *("version", "changelog", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
    *("name", "task", "description", "authors", "copyright", "data_source", "data_type", "image_classes"),
    *("intended_use", "references"),
)
"""Keys of the metadata that both ways of hosting have."""


@dataclass(frozen=True)
class Contribution:
    """
    Statements of a contribution that its run cannot know.

    Args:
        repository: OWNER/NAME on the Hugging Face hub, where the weights will lie. NAME is that of the bundle: words
            and underscores, such as ``liver_mr_segmentation``.
        authors: of the model.
        licence: of the weights, see :func:`medsize.bundle.sharing.weights_licence.weights_licence`.
        weights_url: address of ``model.pt``. Default: in that repository.

    Raises:
        ValueError: naming what is wrong.
    """

    repository: str
    authors: str
    licence: str | None = None
    weights_url: str | None = None

    def __post_init__(self) -> None:
        if not REPOSITORY.fullmatch(self.repository) or VERSIONED.fullmatch(self.name):
            raise ValueError(
                f"--zoo: found '{self.repository}', expected OWNER/NAME, with a NAME of words and underscores without "
                "a version, such as your_clinic/liver_mr_segmentation."
            )
        if not self.authors.strip():
            raise ValueError("--authors: found none, expected who made the model, such as 'Jane Doe, University of X'.")

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return self.repository.rpartition("/")[2]

    @property
    def page(self) -> str:
        """Address of the repository on the hub."""
        return f"https://huggingface.co/{self.repository}"

    @property
    def weights(self) -> str:
        """Address of ``model.pt``."""
        return self.weights_url or f"{self.page}/resolve/main/models/model.pt"


@dataclass(frozen=True)
class Contributed:
    """Contribution that has been written."""

    contribution: Contribution
    missing: tuple[str, ...] = ()
    """Places of its model card that must be filled in by hand."""

    def describe(self, folder: Path) -> str:
        """
        Return the next steps.

        Args:
            folder: folder that it was written to.
        """
        name, repository = self.contribution.name, self.contribution.repository
        lines = [
            f"{folder}: a contribution to the model zoo. To go on:",
            *(f"  State in README.md and docs/README.md: {text}." for text in self.missing),
            f"  hf upload {repository} {folder / 'huggingface' / name}",
            "  A pull request to Project-MONAI/model-zoo, branch dev, with one of:",
            f"    {folder / 'models' / name}: the zoo then hosts the bundle",
            f"    {folder / 'hf_models' / name}: the zoo then has a page that names your repository",
        ]
        return "\n".join(lines)


def export_for_zoo(
    bundle: Path,
    output_dir: Path,
    run: Path | None,
    contribution: Contribution,
    network: str | None = None,
    vendor: bool = False,
    image_type: str | None = None,
) -> Contributed:
    """
    Write a contribution to the model zoo, for both ways of hosting.

    ``huggingface/NAME`` is the whole bundle with its model card, to upload to the hub. ``models/NAME`` is the same
    without weights, which ``large_files.yml`` names by address and hash, and ``hf_models/NAME`` is the page of a model
    that stays in its authors' repository: one of both goes into a pull request.

    Args:
        bundle: folder of a bundle of medsize.
        output_dir: folder to write to; new or empty.
        run: output folder of a finished run.
        contribution: statements that the run cannot know.
        network: see :func:`medsize.bundle.sharing.export.export_bundle`.
        vendor: likewise.
        image_type: likewise.

    Raises:
        ValueError: when there is no finished run, or the licence of its weights is unknown.
    """
    if run is None:
        raise ValueError("--zoo: found no run, expected the one to share. Name it: --run FOLDER")
    check_empty(output_dir)
    check_finished(run, (INFERENCE, METRICS))
    summary = RunSummary.read(run)
    cohort = CohortStatement.of(Path(summary.data_list) if summary.data_list else None)
    licence = weights_licence(cohort.source, contribution.licence)
    with whole_folder(output_dir) as folder:
        whole = folder / "huggingface" / contribution.name
        export_bundle(bundle, whole, run, network, vendor, image_type)
        metadata = _complete_metadata(whole, contribution, summary, cohort, image_type)
        _state_licence(whole / "docs" / "data_license.txt", cohort, licence)
        cases, settings = pd.read_csv(run / METRICS), inference_settings(run)
        card = model_card(metadata, summary, cohort, cases, LICENCES[licence], _network(whole), settings)
        (whole / "docs" / "README.md").write_text(card.text)
        front = header(metadata, cohort, licence, image_type)
        (whole / "README.md").write_text(f"---\n{front}---\n{card.text}")
        shutil.copytree(whole, folder / "models" / contribution.name, ignore=shutil.ignore_patterns("models"))
        (folder / "models" / contribution.name / "README.md").unlink()
        _name_large_files(whole, folder / "models" / contribution.name / "large_files.yml", contribution)
        _write_page(whole, folder / "hf_models" / contribution.name, metadata, contribution)
    return Contributed(contribution, tuple(card.missing))


def _complete_metadata(
    whole: Path, contribution: Contribution, summary: RunSummary, cohort: CohortStatement, image_type: str | None
) -> dict[str, Any]:
    file = whole / "configs" / "metadata.json"
    metadata: dict[str, Any] = json.loads(file.read_text())
    structures = list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values())[1:]
    labels = " and ".join((summary.supervision or "size").split("+")).replace("size", "approximate sizes")
    metadata |= {
        "version": VERSION,
        "changelog": {VERSION: f"first version, trained on {summary.training_scans} scans"},
        "name": contribution.name.replace("_", " ").capitalize(),
        "task": f"Segmentation of {', '.join(structures)}",
        "description": f"A {_network(whole)} that segments {', '.join(structures)} in {image_type or 'scans'}, trained "
        f"from {labels} of {summary.training_scans} scans",
        "authors": contribution.authors,
        "copyright": f"Copyright (c) {contribution.authors}",
        "data_source": cohort.described or "not stated",
    }
    file.write_text(json.dumps(metadata, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    return metadata


def _network(whole: Path) -> str:
    config = yaml.safe_load((whole / "configs" / "inference.yaml").read_text())
    return f"{len(config['roi_size'])}D {config['network_def']['_target_'].rpartition('.')[2]}"


def _state_licence(file: Path, cohort: CohortStatement, licence: str) -> None:
    """State the licence of the weights; the list of data sets that the bundle was developed with goes."""
    origin = f"trained on {cohort.described}" if cohort.described else "trained on scans whose source is not stated"
    file.write_text(
        f"The weights in models/model.pt were {origin}.\nThey are shared under {LICENCES[licence]}. No data is part of "
        "this bundle.\n",
        encoding="utf-8",
    )


def _name_large_files(whole: Path, file: Path, contribution: Contribution) -> None:
    """Write the list of the files that the repository of the zoo does not hold: the weights."""
    weights = whole / "models" / "model.pt"
    if large := [f for f in whole.rglob("*") if f.is_file() and f != weights and f.stat().st_size > MOST_BYTES]:
        raise ValueError(f"{large[0].relative_to(whole)} is larger than the 25 MB that the zoo takes. Leave it out.")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    entry = {"path": "models/model.pt", "url": contribution.weights, "hash_val": digest, "hash_type": "sha256"}
    file.write_text(yaml.safe_dump({"large_files": [entry]}, sort_keys=False, width=float("inf")))


def _write_page(whole: Path, folder: Path, metadata: dict[str, Any], contribution: Contribution) -> None:
    """Write the page of a model that stays in its authors' repository on the hub."""
    folder.mkdir(parents=True)
    page = {"schema": HUB_SCHEMA} | {key: metadata[key] for key in OF_THE_HUB if key in metadata}
    page |= {"huggingface_model_id": contribution.repository, "huggingface_url": contribution.page}
    (folder / "metadata.json").write_text(json.dumps(page, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in ("README.md", "LICENSE"):
        shutil.copy(whole / name, folder / name)
