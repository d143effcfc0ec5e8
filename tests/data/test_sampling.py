"""Scans with a mask are drawn as often as asked for."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from medsize.data import enough_epochs, mixed_label_sampler

MIXED = [{"image": str(i), **({"label": "m"} if i < 3 else {})} for i in range(100)]


def test_masks_take_their_share_and_all_scans_are_drawn() -> None:
    drawn = Counter(mixed_label_sampler(MIXED, 20_000, 0.25, torch.Generator().manual_seed(0)))
    assert sum(drawn[i] for i in range(3)) / 20_000 == pytest.approx(0.25, abs=0.02)
    assert len(drawn) == 100
    assert max(drawn[i] for i in range(3, 100)) < 3 * min(drawn[i] for i in range(3, 100))


@pytest.mark.parametrize(("items", "share"), [(MIXED, None), (MIXED[:3], 0.25), (MIXED[3:], 0.25)])
def test_else_every_scan_is_drawn_equally_often(items: list[dict], share: float | None) -> None:
    drawn = Counter(mixed_label_sampler(items, 4 * len(items), share))
    assert set(drawn.values()) == {4}


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="mask_share is"):
        mixed_label_sampler(MIXED, 10, share)


@pytest.mark.parametrize("share", [None, 0.25])
def test_batches_of_all_processes_together_are_what_one_process_would_draw(share: float | None) -> None:
    def draw(rank: int, world_size: int) -> list[int]:
        generator = torch.Generator().manual_seed(0)
        return list(mixed_label_sampler(MIXED, 32, share, generator, rank, world_size))

    one, shares = draw(0, 1), [draw(rank, 3) for rank in range(3)]
    assert [i for batch in zip(*shares, strict=True) for i in batch] == one[:30]


def test_a_small_cohort_gets_the_steps_of_a_large_one_by_more_epochs() -> None:
    assert enough_epochs(epoch_scans=360, batch_size=16) == 60
    assert enough_epochs(epoch_scans=40, batch_size=16) == 500  # two whole batches an epoch
    assert enough_epochs(epoch_scans=3, batch_size=16) == 1000
    assert enough_epochs(epoch_scans=40, batch_size=4, least_steps=300, usual=20) == 30
