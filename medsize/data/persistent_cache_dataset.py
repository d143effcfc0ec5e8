"""Cache of preprocessed scans that outlives a run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.data import CacheDataset
from monai.transforms import Transform
from monai.transforms.traits import RandomizableTrait
from monai.transforms.utils import reset_ops_id
from monai.utils import TraceKeys

from medsize import __version__
from medsize.data.content_hash import content_hash, file_states
from medsize.files import atomic_write

__all__ = ["PersistentCacheDataset"]

# Scans' metadata holds NumPy arrays and names of MONAI's, which torch does not load by itself.
_rebuild_array: Any
_rebuild_scalar: Any
_rebuild_array, _rebuild_scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
_number_types = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "?efdSU"}
torch.serialization.add_safe_globals([TraceKeys, np.ndarray, np.dtype, _rebuild_array, _rebuild_scalar, *_number_types])


class PersistentCacheDataset(CacheDataset):
    """
    MONAI's ``CacheDataset`` that also keeps its scans on disk, for later runs and for other processes.

    A file holds one item after the deterministic transforms. Its name is a hash of the item and of the size and times
    of its files. The hash also covers the transforms with all parameters, and the versions of MONAI and medsize. If any
    of these changes, the scan is prepared anew. Files are memory-mapped: the processes of a machine share one
    copy of a scan. Files are replaced in one step: any number of processes may write at once. Files of scans or
    settings that are no longer used stay until the folder is deleted.

    MONAI's ``PersistentDataset`` is not enough: it does not notice that a file has changed, and does not recognise a
    tensor of equal values. It reads while another process may still be writing, and keeps nothing in memory.

    Args:
        data: the items, as for ``CacheDataset``.
        transform: the transforms, as for ``CacheDataset``.
        cache_dir: folder of the files. Protect it like the scans. Default: no folder, only memory.
        kwargs: further arguments of ``CacheDataset``.

    Raises:
        ValueError: when a deterministic transform holds something that has no value to compare, such as a lambda
            function.
    """

    def __init__(
        self,
        data: Sequence[Mapping[Hashable, Any]],
        transform: Sequence[Callable] | Callable | None = None,
        cache_dir: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self._transform_hash: str | None = None
        super().__init__(data, transform, **kwargs)

    def set_data(self, data: Sequence[Mapping[Hashable, Any]]) -> None:
        """Set the items, see ``CacheDataset``."""
        if self.cache_dir is not None and self._transform_hash is None:  # once, before a transform has seen a scan
            transforms = self.transform.transforms[: self._first_random()]
            self._transform_hash = content_hash([__version__, monai.__version__, transforms])
        super().set_data(data)

    def _first_random(self) -> int | None:
        return self.transform.get_index_of_first(
            lambda t: isinstance(t, RandomizableTrait) or not isinstance(t, Transform)
        )

    def _load_cache_item(self, idx: int) -> Any:
        if self.cache_dir is None:
            return super()._load_cache_item(idx)
        item = self.data[idx]
        name = content_hash([self._transform_hash, item, file_states(item)])
        file = self.cache_dir / name[:2] / f"{name}.pt"
        if file.is_file():
            try:
                return torch.load(file, mmap=True, weights_only=True)
            except (EOFError, RuntimeError, pickle.UnpicklingError) as e:
                warnings.warn(f"{file} is broken, so its scan is prepared anew: {e}", stacklevel=2)
        prepared = super()._load_cache_item(idx)
        reset_ops_id(prepared)  # a later run's transforms, which invert these, are other objects
        self._save(prepared, file)
        return prepared

    def _save(self, prepared: Any, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic_write(file, many_writers=True) as partial:
                torch.save(prepared, partial)
        except OSError as e:
            warnings.warn(f"cache_dir {self.cache_dir}: a preprocessed scan cannot be kept: {e}", stacklevel=2)

    def _transform(self, index: int) -> Any:
        if self.cache_dir is None or index % len(self) < self.cache_num:
            return super()._transform(index)
        first_random = self._first_random()
        item = self._load_cache_item(index)
        return item if first_random is None else self.transform(item, start=first_random)
