"""Training on whole scans that do not fit a backward pass: exact gradients of the size loss, patch by patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch.nn.modules.batchnorm import _NormBase

from medsize.engines.freed_memory import hand_back_freed_memory
from medsize.engines.patch import Patch
from medsize.engines.prepare_batch import append_view
from medsize.engines.tiling import tiles_of
from medsize.engines.view import View
from medsize.items import Targets
from medsize.losses.average_softmax import log_average_softmax
from medsize.losses.composite import CompositeLoss
from medsize.losses.potts import PottsLoss

__all__ = ["TwoPassTrainer"]

HAND_BACK_EVERY = 128**3
"""Voxels between two releases of memory: releasing it for every patch of 64³ would add a third to the time."""


@dataclass(frozen=True)
class _Size:
    """Size term, its slope ∂L/∂ln S̄ ``(B, K)``, and for each item voxels of Ω ``(B,)`` and ln S̄ ``(B, K)``."""

    voxels: torch.Tensor
    log_fraction: torch.Tensor
    term: torch.Tensor
    slope: torch.Tensor


@dataclass(frozen=True)
class _Whole:
    """Results of the first pass: by term, what it is a mean over; the Potts term's β of each item, ``(B,)``; sizes."""

    amounts: dict[str, float]
    beta: torch.Tensor | None
    size: _Size | None


class TwoPassTrainer(SupervisedTrainer):
    """
    MONAI's ``SupervisedTrainer`` for scans of any size, with the memory of one patch.

    A size loss L is a function of the average softmax S̄ of the whole scan, which is a sum over patches. So

    1. a first pass over the patches, without gradients, finds S̄, and from it w = ∂L/∂S̄;
    2. a second pass backpropagates Σ_k w_k · S̄_patch,k of one patch after the other.

    The sum of these gradients is the gradient of L itself, as one pass over all patches would give it. The second pass
    draws the same random numbers (dropout) as the first. The cost is one more forward pass, about 4/3 of the time of
    one pass, and the computation that halos repeat.

    Patches are windows of ``roi_size`` that overlap by twice the ``halo`` or more. The network sees a whole window, but
    only its core counts, and the cores cover the scan without overlap. The slices of a volume that form a ``group``
    are taken ``sw_batch_size`` at a time.

    The second pass adds the other terms of the loss. Each is the mean over the cores, weighted by the voxels in a core
    (for scribbles, the labelled ones). Cross-entropies and soft labels are then those of the whole scan; a Dice loss is
    that of each core. The Potts term counts the pairs of voxels within a core, not across the border of two, with the β
    of the whole scan.

    The batch stays where the loader put it, and windows go to ``device``. The output holds no prediction, since a whole
    one is never kept.

    Processes that train together (``DistributedDataParallel``) each have their own scans and S̄. They exchange gradients
    only with the last patch of a step. With ``split_scans`` they share the patches of a scan.

    Args:
        loss_function: a :class:`medsize.losses.CompositeLoss`.
        roi_size: voxels of a window along each axis, or one number for all.
        halo: voxels of context around a core, along each axis or for all. Defaults to 0.
        sw_batch_size: number of items (scans, or slices of a group) whose windows are fed at once. Defaults to 1.
        two_views: feed every window once more, seen in a :class:`View` that is drawn anew for each step, for the term
            of agreement. It replaces ``PrepareSizeBatch(two_views=True)``. Defaults to False.
        spacing: voxel size along each axis, so that a view does not exchange unlike axes. Default: all alike.
        fixed_axis: spatial axis that a view neither flips nor exchanges. Default: none.
        freeze_batch_norm: keep the running statistics of batch norms, also in training. Defaults to False.
        split_scans: share the patches of each scan among the processes, which must all get the same batches. Defaults
            to False.
        accumulation_steps: number of batches whose gradients are averaged for one step. Defaults to 1.
        kwargs: the arguments of MONAI's ``SupervisedTrainer``.

    Raises:
        ValueError: when the loss is not a ``CompositeLoss``, ``sw_batch_size`` or ``accumulation_steps`` is below 1,
            or, in a step, when ``roi_size`` and ``halo`` do not fit the scans or the network trains a batch norm.
    """

    def __init__(
        self,
        *,
        loss_function: CompositeLoss,
        roi_size: Sequence[int] | int,
        halo: Sequence[int] | int = 0,
        sw_batch_size: int = 1,
        two_views: bool = False,
        spacing: Sequence[float] | None = None,
        fixed_axis: int | None = None,
        freeze_batch_norm: bool = False,
        split_scans: bool = False,
        accumulation_steps: int = 1,
        **kwargs: Any,
    ) -> None:
        if not isinstance(loss_function, CompositeLoss):
            raise ValueError(
                f"TwoPassTrainer needs a CompositeLoss, got {type(loss_function).__name__}. Give a size loss of your "
                "own as CompositeLoss(size_loss=...)."
            )
        for name, number in (("sw_batch_size", sw_batch_size), ("accumulation_steps", accumulation_steps)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}.")
        super().__init__(loss_function=loss_function, **kwargs)
        self.roi_size = roi_size
        self.halo = halo
        self.sw_batch_size = sw_batch_size
        self.two_views = two_views
        self.spacing = spacing
        self.fixed_axis = fixed_axis
        self.freeze_batch_norm = freeze_batch_norm
        self.split_scans = split_scans
        self.accumulation_steps = accumulation_steps
        self._voxels_since = 0

    def _iteration(self, engine: Engine, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """
        Take one step, or with ``accumulation_steps`` a part of one.

        Args:
            engine: this trainer.
            batchdata: a collated batch.

        Returns:
            the image, the targets as ``label``, and the loss.
        """
        image, targets = self.prepare_batch(batchdata, None, self.non_blocking, **self.to_kwargs)
        self.state.output = {Keys.IMAGE: image, Keys.LABEL: targets}
        if "view" in targets:
            raise ValueError("the batch holds two views. Set two_views in TwoPassTrainer, not in PrepareSizeBatch.")
        self._switch_to_training()
        first, last = self._place_in_accumulation()
        if first:
            self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
        patches = self._patches(targets)
        sums = self._first_pass(patches, targets)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.state.output[Keys.LOSS] = self._second_pass(patches, targets, sums, exchange_gradients=last)
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last and self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif last:
            self.optimizer.step()
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _switch_to_training(self) -> None:
        self.network.train()
        trained = {
            name: module
            for name, module in self.network.named_modules()
            if isinstance(module, _NormBase) and module.track_running_stats and module.training
        }
        if trained and not self.freeze_batch_norm:
            raise ValueError(
                f"the network has layers that keep running statistics, {len(trained)} in all, such as "
                f"'{next(iter(trained))}'. The statistics of a patch are not those of a scan, and two passes would "
                "count each twice. Use norm: instance or group in the network, or freeze_batch_norm: true, which keeps "
                "the statistics that pretrained weights brought."
            )
        for module in trained.values():
            module.eval()

    def _place_in_accumulation(self) -> tuple[bool, bool]:
        """Return whether this batch is the first, and whether it is the last, of those averaged for a step."""
        done, length = self.state.iteration - 1, self.state.epoch_length
        if length is not None:
            done %= length
        return done % self.accumulation_steps == 0, (done + 1) % self.accumulation_steps == 0 or done + 1 == length

    def _patches(self, targets: Targets) -> list[Patch]:
        """Return the patches of the batch that this process takes."""
        image, valid = targets["image"], targets.get("valid")
        roi_size, halo = (
            (number,) * (image.ndim - 2) if isinstance(number, int) else tuple(number)
            for number in (self.roi_size, self.halo)
        )
        view = View.random(roi_size, self.spacing, fixed_axis=self.fixed_axis) if self.two_views else None
        patches = []
        for items in torch.arange(len(image)).split(self.sw_batch_size):
            for tile in tiles_of(image.shape[2:], roi_size, halo):
                if valid is None:
                    voxels = torch.full((len(items),), tile.voxels)
                else:
                    voxels = (tile.cut_core(valid)[items] != 0).flatten(1).sum(dim=-1).cpu()
                # The background outside of Ω is a target, too, where it has a weight.
                needed = voxels >= 0 if self.loss_function.outside_weight else voxels > 0
                if bool(needed.any()):
                    patches.append(Patch(tile, items[needed], voxels[needed], view))
        return self._share_of(patches, image) if self.split_scans else patches

    def _share_of(self, patches: list[Patch], image: torch.Tensor) -> list[Patch]:
        """Return the patches that fall to this process."""
        rank, processes = idist.get_rank(), idist.get_world_size()
        checksums = idist.all_gather(image.sum(dtype=torch.float64).reshape(1))
        if bool((checksums != checksums[0]).any()):
            raise ValueError(
                "split_scans: the processes were given different scans, expected the same ones, drawn and augmented "
                "alike. Give them one seed, and the sampler no rank."
            )
        if len(patches) < processes:
            raise ValueError(
                f"split_scans: a batch has {len(patches)} patches, fewer than the {processes} processes. Use fewer "
                "processes, or a smaller roi_size."
            )
        return patches[rank::processes]

    def _first_pass(self, patches: Sequence[Patch], targets: Targets) -> _Whole:
        """Find what gradients depend on: the sizes and amounts of whole scans."""
        loss, num_items, device = self.loss_function, len(targets["image"]), self.state.device
        needs_size, needs_beta = loss.uses_size(targets), loss.potts_weight and isinstance(loss.potts_loss, PottsLoss)
        rows = num_items * (2 if self.two_views else 1)
        voxels = torch.zeros(rows, dtype=torch.float64, device=device)
        contrast = torch.zeros(2, rows, dtype=torch.float64, device=device)
        amounts: list[dict[str, float]] = []
        log_sum = None
        with torch.inference_mode(), self._autocast():
            for patch in patches:
                cores, index = patch.targets_of_core(targets, device), patch.rows(num_items)
                amounts.append(loss.amounts(cores))
                if needs_beta:
                    contrast[:, index] += torch.stack(loss.potts_loss.contrast_sums(cores["image"], cores.get("valid")))
                if needs_size:
                    patch.random_state = self._random_state()
                    logits, seen = self._logits(patch, targets), patch.voxels_of_rows() > 0
                    if log_sum is None:
                        log_sum = voxels.new_full((rows, logits.shape[1]), -torch.inf)
                    if bool(seen.any()):
                        part = _log_average(logits, cores, seen).double()
                        index, count = index[seen], patch.voxels_of_rows()[seen].to(voxels)
                        voxels[index] += count
                        log_sum[index] = log_sum[index].logaddexp(part + count.log().unsqueeze(-1))
        if self.split_scans:
            contrast, voxels = idist.all_reduce(contrast), idist.all_reduce(voxels)
            amounts = idist.all_gather(_total(amounts))
            if log_sum is not None:
                log_sum = idist.all_gather(log_sum.unsqueeze(0)).logsumexp(dim=0)
        beta = contrast[0] / contrast[1].clamp_min(1) if needs_beta else None
        if log_sum is None:
            return _Whole(_total(amounts), beta, None)
        if bool((voxels == 0).any()):
            empty = int((voxels == 0).nonzero()[0]) % num_items
            raise ValueError(f"valid of item {empty} of the batch holds no voxel: its Ω is empty.")
        log_fraction = (log_sum - voxels.log().unsqueeze(-1)).requires_grad_()
        term = loss.size_term(log_fraction, self._targets_of_scans(targets), voxels)
        (slope,) = torch.autograd.grad(term, log_fraction)
        return _Whole(_total(amounts), beta, _Size(voxels, log_fraction.detach(), term.detach(), slope))

    def _second_pass(
        self, patches: Sequence[Patch], targets: Targets, whole: _Whole, exchange_gradients: bool
    ) -> torch.Tensor:
        """Backpropagate patch by patch, and return the loss."""
        loss = self.loss_function
        scale = (idist.get_world_size() if self.split_scans else 1) / self.accumulation_steps  # processes are averaged
        found = []
        for patch in patches:
            with self._exchange(exchange_gradients and patch is patches[-1]):
                found.append(self._backpropagate(patch, targets, whole, scale))
        if self.split_scans:
            found = idist.all_gather(_total(found))
        size = {} if whole.size is None else {"size": float(whole.size.term)}
        loss.terms = {name: torch.tensor(term) for name, term in (size | _total(found)).items()}
        return torch.tensor(sum(loss.weight_of(name) * float(term) for name, term in loss.terms.items()))

    def _backpropagate(self, patch: Patch, targets: Targets, whole: _Whole, scale: float) -> dict[str, float]:
        """Backpropagate one patch, keep nothing of it in memory, and return its local terms."""
        loss, index = self.loss_function, patch.rows(len(targets["image"]))
        cores = patch.targets_of_core(targets, self.state.device)
        if whole.beta is not None:
            cores["beta"] = whole.beta[index]
        amounts = loss.amounts(cores)
        with self._autocast():
            self._set_random_state(patch.random_state)
            logits = self._logits(patch, targets)
            terms = {
                name: term * (amounts[name] / whole.amounts[name])
                for name, term in loss.local_terms(logits, cores).items()
            }
            # A patch without any label must still take part in the exchange of gradients.
            value = sum((loss.weight_of(name) * term for name, term in terms.items()), logits.sum() * 0.0)
            seen = patch.voxels_of_rows() > 0
            if whole.size is not None and bool(seen.any()):
                log_part, count = _log_average(logits, cores, seen), patch.voxels_of_rows()[seen]
                value = value + loss.size_weight * _share(log_part, count, index[seen], whole.size)
        value = value * scale
        (value if self.scaler is None else self.scaler.scale(value)).backward()
        return {name: float(term.detach()) for name, term in terms.items()}

    def _logits(self, patch: Patch, targets: Targets) -> torch.Tensor:
        """Return the network's output for the core of a patch, shape ``(n, K, *core)``."""
        window = patch.window(targets["image"], self.state.device, self.non_blocking)
        self._keep_memory_low(window.numel())
        logits = self.inferer(window, self.network)
        if not isinstance(logits, torch.Tensor) or logits.shape[2:] != window.shape[2:]:
            raise ValueError(
                "TwoPassTrainer needs a network that gives one tensor of logits of its input's spatial shape "
                f"{tuple(window.shape[2:])}, got {getattr(logits, 'shape', type(logits).__name__)}."
            )
        return patch.logits_of_core(logits)

    def _keep_memory_low(self, voxels: int) -> None:
        """Hand back the memory that other patches left, on a CPU, before a patch of so many voxels."""
        self._voxels_since += voxels
        if self.state.device.type == "cpu" and self._voxels_since >= HAND_BACK_EVERY:
            hand_back_freed_memory()
            self._voxels_since = 0

    def _targets_of_scans(self, targets: Targets) -> Targets:
        """Return the targets that are not made of voxels."""
        found = {key: targets[key].to(self.state.device) for key in ("fraction", "group") if key in targets}
        if not self.two_views:
            return cast("Targets", found)
        alike = View.identity(targets["image"].ndim - 2)
        return cast("Targets", {key: append_view(key, target, alike) for key, target in found.items()})

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs)

    def _exchange(self, wanted: bool) -> AbstractContextManager:
        """Return the context in which the gradients of a patch are, or are not, exchanged between processes."""
        return nullcontext() if wanted else getattr(self.network, "no_sync", nullcontext)()

    def _random_state(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        device = self.state.device
        return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def _set_random_state(self, state: tuple[torch.Tensor, torch.Tensor | None] | None) -> None:
        if state is None:
            return
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1], self.state.device)


def _log_average(logits: torch.Tensor, cores: Targets, seen: torch.Tensor) -> torch.Tensor:
    """Return ln S̄ of the rows with a voxel of Ω in the core."""
    valid = cores.get("valid")
    if bool(seen.all()):  # a choice of rows would copy them
        return log_average_softmax(logits, valid)
    return log_average_softmax(logits[seen], None if valid is None else valid[seen])


def _share(log_part: torch.Tensor, count: torch.Tensor, index: torch.Tensor, size: _Size) -> torch.Tensor:
    """
    Return Σ_k w_k · S̄_patch,k, where S̄_patch is the patch's part of S̄.

    As w = (∂L/∂ln S̄) / S̄, it is the slope times the ratio S̄_patch / S̄, which does not underflow where S̄ is small.
    """
    log_weight = (count.to(size.voxels) / size.voxels[index]).log().unsqueeze(-1)
    ratio = (log_part + (log_weight - size.log_fraction[index]).to(log_part)).exp()
    return (size.slope[index].to(ratio) * ratio).sum()


def _total(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}
