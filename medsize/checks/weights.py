"""Check that weights are those of the network that takes them."""

from __future__ import annotations

from pathlib import Path

from monai.bundle import ConfigParser
from torch import nn

from medsize.bundle.parts import read_object, read_weights
from medsize.bundle.run.folder import CHECKPOINT, INFERENCE, WEIGHTS
from medsize.bundle.run.inference_settings import inference_config
from medsize.bundle.run.settings import RunSettings
from medsize.checks.findings import Finding
from medsize.checks.network import NETWORK, built_network
from medsize.networks.weights import misfit, weights_in
from medsize.suggest import first_few

__all__ = ["check_weights", "weights_findings", "weights_problem"]

TEACHER = "teacher_def"
"""Key of a config that defines the teacher's network."""


def weights_findings(parser: ConfigParser, settings: RunSettings) -> list[Finding]:
    """
    Find the files of a run whose weights are not those of the network that takes them.

    Args:
        parser: config of the run.
        settings: its settings; their files must exist.
    """
    taken = []
    if settings.checkpoint is not None:
        of_teacher = settings.init == "teacher" and TEACHER in parser
        taken.append((settings.checkpoint, TEACHER if of_teacher else NETWORK, settings.init == "checkpoint"))
    if settings.resume and settings.output_dir is not None:
        taken.append((settings.output_dir / CHECKPOINT, NETWORK, False))
    found = ((file, weights_problem(file, built_network(parser, key), key, partly)) for file, key, partly in taken)
    return [Finding(str(file), problem) for file, problem in found if problem]


def weights_problem(file: Path, network: nn.Module, key: str = NETWORK, partly: bool = False) -> str:
    """
    Return why the weights in a file are not those of a network; empty if they are.

    Args:
        file: file of the weights. The settings of its run, beside it, tell which network it was made for.
        network: the network.
        key: key of the config that defines it.
        partly: see :func:`medsize.networks.weights.misfit`.
    """
    try:
        why = misfit(network, weights_in(read_weights(file)), partly)
    except ValueError as e:
        return str(e).removeprefix(f"{file}: ")
    if not why:
        return ""
    expected = f"expected those of the {type(network).__name__} in {key}"
    others = "state its network there" if key == TEACHER else "add the overlay of their network"
    return f"found the weights of {_made_for(file)}, {expected}: {why}. Name another file, or {others}."


def check_weights(run: Path, bundle: Path) -> None:
    """
    Refuse a run whose weights are not those of its network.

    Args:
        run: output folder of the run.
        bundle: its bundle.

    Raises:
        ValueError: naming the file, and the tensor that differs.
    """
    if problem := weights_problem(run / WEIGHTS, inference_config(run, bundle).get_parsed_content(NETWORK)):
        raise ValueError(f"{run / WEIGHTS}: {problem}")


def _made_for(file: Path) -> str:
    """Return the network and the structures that a run's weights are of, as far as the file beside them tells."""
    if not (file.parent / INFERENCE).is_file():
        return "another network"
    settings = read_object(file.parent / INFERENCE)
    name = str(settings.get("network_def", {}).get("_target_", "network")).rpartition(".")[2]
    return f"a {name} for {first_few(list(map(str, settings.get('structures', []))))}"
