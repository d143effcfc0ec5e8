"""Pictures of predictions in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.visualize import blend_images
from torch.utils.tensorboard import SummaryWriter

from medsize.pictures import fullest_slice

__all__ = ["OverlayHandler"]


class OverlayHandler:
    """
    Handler that writes the predictions of the first cases of every validation to TensorBoard, as overlays.

    It shows the slice of each volume, along the last axis, that holds most of the prediction.

    Args:
        log_dir: TensorBoard's folder.
        output_transform: takes from ``engine.state.output`` a list of dictionaries with ``image`` ``(C, *spatial)`` and
            one-hot ``pred`` ``(K, *spatial)``.
        epoch: returns the trainer's epoch.
        num_cases: number of cases to show. Defaults to 3.
    """

    def __init__(
        self,
        log_dir: str,
        epoch: Callable[[], int],
        output_transform: Callable = lambda output: output,
        num_cases: int = 3,
    ) -> None:
        self.log_dir = log_dir
        self.epoch = epoch
        self.output_transform = output_transform
        self.num_cases = num_cases
        self._shown = 0
        self._writer: SummaryWriter | None = None

    def attach(self, engine: Engine) -> None:
        """
        Attach to an engine.

        Args:
            engine: an evaluator.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._show)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, _: Engine) -> None:
        self._shown = 0
        self._writer = self._writer or SummaryWriter(self.log_dir)

    def _show(self, engine: Engine) -> None:
        for output in self.output_transform(engine.state.output):
            if self._shown == self.num_cases or self._writer is None:
                return
            picture = overlay(output["image"], output["pred"])
            self._writer.add_image(f"overlay/{self._shown}", picture.numpy(), self.epoch())
            self._shown += 1

    def _finish(self, _: Engine) -> None:
        if self._writer is not None:
            self._writer.flush()


def overlay(image: torch.Tensor, onehot: torch.Tensor) -> torch.Tensor:
    """
    Draw a slice of an image with the classes in colours over it.

    Args:
        image: ``(C, *spatial)``; the first channel is shown.
        onehot: ``(K, *spatial)``.

    Returns:
        RGB in [0, 1], ``(3, H, W)``.
    """
    image, labels = (
        torch.as_tensor(image)[:1].cpu(),
        torch.as_tensor(onehot).argmax(dim=0, keepdim=True).cpu(),
    )
    if image.ndim == 4:
        z = fullest_slice(labels.numpy())
        image, labels = image[..., z], labels[..., z]
    # The colours must not depend on the classes that a slice holds.
    scaled = labels.float() / max(onehot.shape[0] - 1, 1)
    picture: Any = blend_images(
        image, scaled, alpha=0.5, cmap="turbo", rescale_arrays=False, transparent_background=True
    )
    return torch.as_tensor(picture).clamp(0, 1)
