"""
Segmentation of a picture that is too large for memory: rows in, rows of the mask out.

It gives what the bundle's inference gives: the picture at the network's spacing, or resized to fit its window; windows
that overlap and weigh by a Gaussian, logits averaged, their softmax interpolated to the picture's pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.networks.layers.convutils import gaussian_1d

from medsize.metrics.reliability import is_cut_off
from medsize.scans.pictures.picture import to_channels

__all__ = [
    "Axis",
    "MaskSummary",
    "Rows",
    "Window",
    "brightness_range",
    "fitted_picture",
    "mask_summary",
    "segment_rows",
    "spaced_blocks",
]

BATCH = 8
"""Windows that the network sees at once."""
FINENESS = 16
"""Bins of a histogram between two grey values of 8 bits; interpolated pixels lie between."""
COLUMNS = 1024
"""Pixels along a row that are interpolated at once."""


class Rows(Protocol):
    """A picture whose rows are read from top to bottom."""

    height: int
    width: int
    dtype: np.dtype

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return rows as an array ``(rows, width, channels)``."""


Blocks = Iterator[np.ndarray]
"""Rows of a picture, or of its softmax, in blocks ``(channels, rows, columns)`` from top to bottom."""


@dataclass(frozen=True)
class Axis:
    """An axis of the picture as the network sees it: ``size`` points, at pixels ``start + step · i`` of the picture."""

    size: int
    step: float = 1.0
    start: float = 0.0

    @classmethod
    def spaced(cls, length: int, step: float) -> Axis:
        """Return an axis from the first pixel on, with as many points as MONAI's ``Spacing`` gives."""
        return cls(round((length - 1) / step + 1.0), step)

    @classmethod
    def fitted(cls, length: int, size: int) -> Axis:
        """Return an axis of ``size`` points that divide the picture's length evenly."""
        step = length / size
        return cls(size, step, (step - 1) / 2)

    def pixels(self, first: int, last: int) -> np.ndarray:
        """Return the places of points in the picture."""
        return self.start + self.step * np.arange(first, last)

    def points(self, first: int, last: int) -> np.ndarray:
        """Return the places of pixels among the points, none beyond the outermost."""
        return ((np.arange(first, last) - self.start) / self.step).clip(0, self.size - 1)


@dataclass(frozen=True)
class Window:
    """Network and the window in which it sees a picture."""

    network: Callable[[torch.Tensor], torch.Tensor]
    channels: int
    size: tuple[int, int]
    """Points along x and y."""
    overlap: float
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    amp: bool = False


class MaskSummary(NamedTuple):
    """Facts about a mask."""

    counts: np.ndarray
    """Pixels of each class."""
    at_edge: frozenset[int]
    """Classes that the edge of the picture cuts off, see :func:`medsize.metrics.reliability.is_cut_off`."""
    small: np.ndarray
    """Every n-th pixel of the mask, along both axes."""


def mask_summary(rows: Rows, num_classes: int, every: int, strip: int = 256) -> MaskSummary:
    """
    Read a mask strip by strip.

    Args:
        rows: its rows.
        num_classes: K, with the background.
        every: the n of ``small``.
        strip: number of rows that are read at a time. Defaults to 256.
    """
    down = np.zeros((num_classes, rows.height), dtype=np.int64)
    across = np.zeros((num_classes, rows.width), dtype=np.int64)
    small: list[np.ndarray] = []
    for start in range(0, rows.height, strip):
        labels = rows.rows(start, min(start + strip, rows.height))[..., 0]
        for k in range(num_classes):
            here = labels == k
            down[k, start : start + len(labels)] = here.sum(axis=1)
            across[k] += here.sum(axis=0)
        small.append(labels[-start % every :: every, ::every])
    at_edge = frozenset(k for k in range(num_classes) if is_cut_off(down[k]) or is_cut_off(across[k]))
    return MaskSummary(down.sum(axis=1), at_edge, np.concatenate(small))


def spaced_blocks(rows: Rows, channels: int, x: Axis, y: Axis) -> Blocks:
    """Yield the picture as the network sees it, linearly interpolated as by MONAI's ``Spacing``."""
    places = x.pixels(0, x.size).clip(0, rows.width - 1)
    step = max(1, min(256, int(256 / y.step)))
    for first in range(0, y.size, step):
        wanted = y.pixels(first, min(first + step, y.size)).clip(0, rows.height - 1)
        start = int(wanted[0])
        block = _block(rows, start, min(int(wanted[-1]) + 2, rows.height), channels)
        yield _interpolated(_interpolated(block, wanted - start, axis=1), places, axis=2)


def fitted_picture(rows: Rows, channels: int, x: Axis, y: Axis) -> np.ndarray:
    """
    Return the whole picture as the network sees it, ``(channels, rows, columns)``: resized to fit its window.

    It is smoothed and interpolated as by MONAI's ``Resize`` with ``anti_aliasing``.
    """
    across, down = _resizing(rows.width, x), _resizing(rows.height, y)
    result = np.zeros((channels, y.size, x.size), dtype=np.float32)
    for start in range(0, rows.height, 256):
        stop = min(start + 256, rows.height)
        block = _block(rows, start, stop, channels).astype(np.float32)
        result += down[:, start:stop] @ (block @ across.T)
    return result


def brightness_range(
    blocks: Iterable[np.ndarray], dtype: np.dtype, percentiles: tuple[float, float] = (0.5, 99.5)
) -> tuple[float, float]:
    """Return percentiles of a picture as the network sees it, of all channels together, by a histogram."""
    bits_8 = dtype == np.uint8
    fineness = FINENESS if bits_8 else 1
    counts = np.zeros((2**8 if bits_8 else 2**16) * fineness, dtype=np.int64)
    for seen in blocks:
        values = np.rint(seen * fineness).astype(np.int64).ravel().clip(0, len(counts) - 1)
        counts += np.bincount(values, minlength=len(counts))
    ends = np.cumsum(counts)
    low, high = (_percentile(ends, q) / fineness for q in percentiles)
    return low, high


def segment_rows(
    seen: Blocks,
    window: Window,
    x: Axis,
    y: Axis,
    size: tuple[int, int],
    brightness: tuple[float, float],
    strip: int,
) -> Iterator[np.ndarray]:
    """
    Yield the mask of a picture in strips of rows, from top to bottom.

    Args:
        seen: the picture as the network sees it.
        window: network and its window.
        x: its columns.
        y: its rows.
        size: columns and rows of the picture itself.
        brightness: values that become 0 and 1.
        strip: number of rows of a strip.
    """
    width, height = size
    softmax = _Buffer(_softmax(seen, window, x, y, brightness))
    columns = x.points(0, width)
    for start in range(0, height, strip):
        stop = min(start + strip, height)
        yield _labels(softmax, y.points(start, stop), columns)


class _Buffer:
    """Rows ``(classes, rows, columns)`` that come in blocks, forgotten when those below are asked for."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self._kept: np.ndarray | None = None
        self._first = 0

    def rows(self, first: int, last: int) -> np.ndarray:
        kept = self._kept[:, first - self._first :] if self._kept is not None else None
        self._first = first
        while kept is None or kept.shape[1] < last - first:
            block = next(self._blocks)
            kept = block if kept is None else np.concatenate([kept, block], axis=1)
        self._kept = kept
        return kept[:, : last - first]


def _block(rows: Rows, start: int, stop: int, channels: int) -> np.ndarray:
    """Return rows with the channels that the network takes, ``(channels, rows, columns)``."""
    pixels = rows.rows(start, stop)
    block = to_channels(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, channels)
    return block[None] if block.ndim == 2 else np.moveaxis(block, -1, 0)


def _resizing(length: int, axis: Axis) -> np.ndarray:
    """Return the matrix ``(points, pixels)`` of MONAI's smoothing and interpolation along an axis."""
    places = axis.pixels(0, axis.size).clip(0, length - 1)
    low = np.floor(places).astype(int)
    above = places - low
    kernel = np.ones(1)
    if axis.step > 1:
        kernel = gaussian_1d(torch.tensor((axis.step - 1) / 2)).numpy()
    tail = len(kernel) // 2
    matrix = np.zeros((axis.size, length + 2 * tail + 1), dtype=np.float32)
    for point in range(axis.size):
        matrix[point, low[point] : low[point] + len(kernel)] += (1 - above[point]) * kernel
        matrix[point, low[point] + 1 : low[point] + 1 + len(kernel)] += above[point] * kernel
    return matrix[:, tail : tail + length]


def _interpolated(values: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Return values, float32, at places along an axis."""
    low = np.floor(places).astype(int)
    weight = (places - low).astype(np.float32)
    first = values.take(low, axis=axis).astype(np.float32, copy=False)
    if not weight.any():
        return first
    second = values.take(np.minimum(low + 1, values.shape[axis] - 1), axis=axis).astype(np.float32, copy=False)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    second -= first
    second *= weight
    second += first
    return second


def _softmax(blocks: Blocks, window: Window, x: Axis, y: Axis, brightness: tuple[float, float]) -> Blocks:
    """Yield the softmax of the network."""
    low, high = brightness
    wide, tall = window.size
    before_x, before_y = (max(length - axis.size, 0) // 2 for length, axis in ((wide, x), (tall, y)))
    across, down = max(x.size, wide), max(y.size, tall)
    lefts, tops = (_starts(*sizes, window.overlap) for sizes in ((across, wide), (down, tall)))
    weight = compute_importance_map((tall, wide), mode="gaussian").numpy()
    seen = _Buffer(blocks)
    # What the network sees, and the sums over windows, from the row `top` on.
    band = np.zeros((window.channels, tall, across), dtype=np.float32)
    sums, weights, known = None, np.zeros((tall, across), dtype=np.float32), 0
    for number, top in enumerate(tops):
        until = min(top + tall - before_y, y.size)
        if until > known:
            block = seen.rows(known, until) - low
            block = (block / (high - low)).clip(0, 1) if high > low else block  # as MONAI does
            place = before_y + known - top
            band[:, place : place + until - known, before_x : before_x + x.size] = block
            known = until
        for start in range(0, len(lefts), BATCH):
            chosen = lefts[start : start + BATCH]
            logits = _logits(window, [band[:, :, left : left + wide] for left in chosen])
            sums = np.zeros((logits.shape[1], tall, across), dtype=np.float32) if sums is None else sums
            for left, of_window in zip(chosen, logits, strict=True):
                sums[:, :, left : left + wide] += of_window * weight
                weights[:, left : left + wide] += weight
        assert sums is not None
        done = (tops[number + 1] if number + 1 < len(tops) else down) - top
        inside = slice(before_y if number == 0 else 0, min(done, before_y + y.size - top))
        mean = sums[:, inside, before_x : before_x + x.size] / weights[inside, before_x : before_x + x.size]
        yield torch.from_numpy(mean).softmax(dim=0).numpy()
        for array in (band, sums, weights):
            array[..., : tall - done, :] = array[..., done:, :].copy()
            array[..., tall - done :, :] = 0


def _logits(window: Window, parts: Sequence[np.ndarray]) -> np.ndarray:
    # The network's axes are x and y, in this order.
    batch = torch.from_numpy(np.stack(parts)).transpose(2, 3).contiguous().to(window.device)
    with torch.inference_mode(), torch.autocast(window.device.type, enabled=window.amp):
        logits = window.network(batch)
    return np.ascontiguousarray(logits.float().cpu().transpose(2, 3).numpy())


def _starts(length: int, window: int, overlap: float) -> list[int]:
    interval = window if window >= length else max(1, int(window * (1 - overlap)))
    return [part[0].start for part in dense_patch_slices((length,), (window,), (interval,))]


def _labels(softmax: _Buffer, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the most likely classes at places of rows and columns."""
    first = int(y[0])
    block = softmax.rows(first, int(np.ceil(y[-1])) + 1)
    result = np.empty((len(y), len(x)), dtype=np.uint8)
    for start in range(0, len(x), COLUMNS):
        places = x[start : start + COLUMNS]
        left = int(places[0])
        part = block[:, :, left : int(np.ceil(places[-1])) + 1]
        part = _interpolated(_interpolated(part, y - first, axis=1), places - left, axis=2)
        result[:, start : start + COLUMNS] = part.argmax(axis=0)
    return result


def _percentile(ends: np.ndarray, q: float) -> float:
    """Return a percentile of values whose cumulative counts are given, linear between two of them."""
    place = q / 100 * (int(ends[-1]) - 1)
    below, above = (int(np.searchsorted(ends, k, side="right")) for k in (int(np.floor(place)), int(np.ceil(place))))
    return below + (place - np.floor(place)) * (above - below)
