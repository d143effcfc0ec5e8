"""Recipes: the chain of trainings for the labels at hand. The one place where their number and order stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from medsize.bundle.sharing.export import OVERLAYS

__all__ = ["NETWORKS", "RECIPES", "Lesson", "Recipe", "chain", "lessons"]


class Recipe(NamedTuple):
    """Trainings from sizes that lead to the shared network."""

    teachers: tuple[str, ...]
    """Networks that are trained before it, each taught by the one before. A shared LeanUNet is the last of them."""
    least_teachers: int = 0
    """Number of teachers that a time limit leaves, where they are other networks than the shared one."""


class Network(NamedTuple):
    """A network that can be trained."""

    title: str
    overlays: tuple[str, ...]
    """Overlays of train.yaml that select it."""
    init: str
    """Start of its weights."""


class Lesson(NamedTuple):
    """A training of a chain."""

    network: str
    overlays: list[str]
    values: dict[str, Any]
    reason: str


NETWORKS = {
    "unet": Network("UNet", (), "random"),
    "segresnet": Network("SegResNet", ("segresnet.yaml",), "random"),
    "lean_unet": Network("LeanUNet", (OVERLAYS["lean_unet"],), "imagenet"),
}
RECIPES = {
    (2, "slice"): Recipe(("lean_unet", "lean_unet"), 1),
    (2, "clicked slice"): Recipe(("lean_unet", "lean_unet"), 1),
    (2, "volume"): Recipe(("lean_unet", "lean_unet"), 1),
    (2, "clicked volume"): Recipe(("lean_unet",), 1),
    (2, "picture"): Recipe(("lean_unet",), 1),
    (3, "volume"): Recipe(()),
    (3, "clicked volume"): Recipe(()),
}
"""
By the bundle's dimensions and the level of sizes. Beside clicks and volumes, a second round gained nothing: in the
abdomen Dice was 0.75 where the first round had 0.77. Nor did it in pictures of cell nuclei.
"""


def chain(recipe: Recipe, network: str) -> list[str]:
    """Return the networks to train one after the other, the shared one last."""
    is_last = network == "lean_unet" and recipe.teachers
    return [*recipe.teachers] if is_last else [*recipe.teachers, network]


def lessons(
    networks: Sequence[str], supervision: str, has_first_labels: bool = False, from_volumes: bool = False
) -> Iterator[Lesson]:
    """
    Yield the trainings of a chain.

    Args:
        networks: networks to train one after the other; each but the first is taught by the one before.
        supervision: labels to train from, see ``supervision`` in train.yaml.
        has_first_labels: the first training also learns from first labels. Defaults to False.
        from_volumes: a network of slices learns from volumes, which the training before hands down. Defaults to False.
    """
    labels = " and ".join([*supervision.split("+"), *(["first labels"] if has_first_labels else [])])
    for number, name in enumerate(networks):
        network = NETWORKS[name]
        overlays = list(network.overlays)
        values: dict[str, Any] = {}
        if number == 0:
            overlays += ["mask_supervision.yaml"] if supervision == "mask" else []
            start = "ImageNet features" if network.init == "imagenet" else "random weights"
            reason = f"it starts from {start} and learns from {labels}"
        elif networks[number - 1] == name:
            overlays += ["teacher.yaml", "second_round.yaml"]
            values["init"] = network.init
            reason = "the training before teaches it, by soft labels shifted to each scan's sizes"
            if from_volumes and "scribble" not in supervision.split("+"):
                reason = "the training before shows where structures are and makes sizes of slices of each volume"
        else:
            overlays.append("teacher.yaml")
            reason = "the training before teaches it; it needs nothing but MONAI when it is applied"
        yield Lesson(name, overlays, values, reason)
