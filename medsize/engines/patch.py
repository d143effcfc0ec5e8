"""Part of a batch that goes through the network at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch

from medsize.engines.prepare_batch import VOXEL_KEYS, append_view
from medsize.engines.tiling import Tile
from medsize.engines.view import View
from medsize.items import Targets

__all__ = ["Patch"]


@dataclass
class Patch:
    """
    Tile of some items of a batch.

    Args:
        tile: the window and its core.
        items: indices of the items to look at, integers of shape ``(n,)``.
        voxels: number of voxels of Ω in the core of each, shape ``(n,)``.
        view: a second view in which the network sees the window, or ``None``. It makes n further items.
        random_state: state of torch's generators before the network's first pass.
    """

    tile: Tile
    items: torch.Tensor
    voxels: torch.Tensor
    view: View | None = None
    random_state: tuple[torch.Tensor, torch.Tensor | None] | None = None

    def window(self, image: torch.Tensor, device: torch.device, non_blocking: bool = False) -> torch.Tensor:
        """Cut the network's input from an image ``(B, C, *spatial)``."""
        window = self.tile.cut_window(image)[self.items].to(device, non_blocking=non_blocking)
        return window if self.view is None else torch.cat([window, self.view.apply(window)])

    def logits_of_core(self, logits: torch.Tensor) -> torch.Tensor:
        """Cut the core from the network's output, with both views on the grid of the scan."""
        if self.view is not None:
            first, second = logits.chunk(2)
            logits = torch.cat([first, self.view.undo(second)])
        return self.tile.core_of_window(logits)

    def targets_of_core(self, targets: Targets, device: torch.device) -> Targets:
        """Cut the core from the image and the other targets that are made of voxels."""
        cores = {key: self.tile.cut_core(targets[key])[self.items].to(device) for key in VOXEL_KEYS if key in targets}
        if self.view is None:
            return cast("Targets", cores)
        alike = View.identity(len(self.tile.core))
        return cast("Targets", {key: append_view(key, core, alike) for key, core in cores.items()} | {"view": alike})

    def rows(self, num_items: int) -> torch.Tensor:
        """Return the indices of the items, and of their views, which follow all ``num_items`` of the batch."""
        return self.items if self.view is None else torch.cat([self.items, self.items + num_items])

    def voxels_of_rows(self) -> torch.Tensor:
        """Return the number of voxels of Ω in the core, for each of :meth:`rows`."""
        return self.voxels if self.view is None else torch.cat([self.voxels, self.voxels])
