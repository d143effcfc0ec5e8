"""Hash of a value, such as a training item or the transforms that prepare it."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["content_hash", "file_state", "file_states"]


def file_state(file: str) -> tuple[int, int, int]:
    """Return the size of a file, and the times at which its content and its inode have changed, ns."""
    stat = os.stat(file)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def file_states(item: Mapping[Hashable, Any]) -> list[tuple[int, int, int]]:
    """Return the states of the files that an item names."""
    names = [name for value in item.values() for name in (value if isinstance(value, list) else [value])]
    return [file_state(name) for name in names if isinstance(name, str) and os.path.isfile(name)]


def content_hash(thing: Any) -> str:
    """
    Return a hash of a thing's value: equal things have equal hashes, in any process.

    Tensors and networks count by their values, other objects by what pickle writes of them.

    Raises:
        ValueError: when the thing holds something that has no value to compare, such as a lambda function.
    """
    buffer = io.BytesIO()
    pickler = _ByValue(buffer)
    pickler.fast = True  # equal things are written alike, whether or not they are one object
    try:
        pickler.dump(thing)
    except (AttributeError, TypeError, pickle.PicklingError) as e:
        raise ValueError(
            f"a transform has no value to compare, so what it makes cannot be kept: {e}. Use a function that has a "
            "name and a module, not a lambda. To keep no scans, set cache_dir to null."
        ) from e
    return hashlib.sha256(buffer.getvalue()).hexdigest()


class _ByValue(pickle.Pickler):
    """Pickler that writes tensors and networks by their values; pickle would write their addresses."""

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, nn.Module):
            return str, (repr(thing), *thing.state_dict().items())
        if isinstance(thing, torch.Tensor):
            array = thing.detach().cpu().contiguous()
            return str, (str(array.dtype), tuple(array.shape), array.reshape(-1).view(torch.uint8).numpy().tobytes())
        return NotImplemented
