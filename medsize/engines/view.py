"""Views of a batch with its axes exchanged and flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = ["View"]


@dataclass(frozen=True)
class View:
    """
    Symmetry of the voxel grid: axes are exchanged, then flipped. It does not change sizes.

    Args:
        order: for each spatial axis, the one that takes its place.
        flips: the axes to flip afterwards.
    """

    order: tuple[int, ...]
    flips: tuple[int, ...]

    @classmethod
    def random(
        cls,
        shape: Sequence[int],
        spacing: Sequence[float] | None = None,
        generator: torch.Generator | None = None,
        fixed_axis: int | None = None,
    ) -> View:
        """
        Draw a symmetry of a grid other than the identity; only axes of equal length and spacing are exchanged.

        Args:
            shape: voxels along each axis.
            spacing: voxel size along each axis, in any one unit. Default: the same along all.
            generator: draws the symmetry. Default: torch's own.
            fixed_axis: axis that keeps its place and direction. Default: none.
        """
        num_axes = len(shape)
        kinds = [
            (length, mm, axis == fixed_axis)
            for axis, (length, mm) in enumerate(zip(shape, spacing or [1.0] * num_axes, strict=True))
        ]
        while True:
            order = [-1] * num_axes
            for kind in sorted(set(kinds)):
                axes = [axis for axis in range(num_axes) if kinds[axis] == kind]
                shuffled = torch.randperm(len(axes), generator=generator).tolist()
                for axis, other in zip(axes, shuffled, strict=True):
                    order[axis] = axes[other]
            flipped = torch.randint(0, 2, (num_axes,), generator=generator).tolist()
            view = cls(tuple(order), tuple(axis for axis in range(num_axes) if flipped[axis] and axis != fixed_axis))
            if view.flips or view.order != tuple(range(num_axes)):
                return view

    @classmethod
    def identity(cls, num_axes: int) -> View:
        """Return the view that changes nothing."""
        return cls(tuple(range(num_axes)), ())

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Return a tensor ``(B, C, *spatial)`` as seen in this view."""
        return x.permute(0, 1, *(2 + axis for axis in self.order)).flip([2 + axis for axis in self.flips])

    def undo(self, x: torch.Tensor) -> torch.Tensor:
        """Undo :meth:`apply`."""
        inverse = [self.order.index(axis) for axis in range(len(self.order))]
        return x.flip([2 + axis for axis in self.flips]).permute(0, 1, *(2 + axis for axis in inverse))
