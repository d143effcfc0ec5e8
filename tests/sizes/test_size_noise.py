"""Wrong sizes are as wrong as asked for, and wrong in the way that was asked for."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medsize.sizes import expected_size_change, relative_size_change, with_size_noise
from medsize.sizes.error_model import ErrorModel
from medsize.sizes.size_noise import SIZE_NOISES


def cohort(count: int = 4000) -> list[dict]:
    """Sizes of two structures, of 1 to 100 mL."""
    sizes = torch.exp(torch.linspace(math.log(1e3), math.log(1e5), count, dtype=torch.float64))
    return [{"image": str(i), "volume_mm3": torch.stack([v, v / 2]).expand(2, 2).clone()} for i, v in enumerate(sizes)]


def middles(items: list[dict]) -> torch.Tensor:
    return torch.stack([item["volume_mm3"].mean(dim=0) for item in items])


@pytest.mark.parametrize("noise", ["gaussian", "log-normal", "diameters", "too large", "too small"])
@pytest.mark.parametrize("level", [0.1, 0.3, 0.8])
def test_the_level_is_the_mean_relative_error(noise: str, level: float) -> None:
    items = cohort()
    assert relative_size_change(items, with_size_noise(items, noise, level)) == pytest.approx(level, rel=0.05)


@pytest.mark.parametrize("noise", SIZE_NOISES)
@pytest.mark.parametrize("level", [0.3, 0.8])
def test_every_noise_states_the_mean_relative_error_that_it_makes(noise: str, level: float) -> None:
    items = cohort()
    made = relative_size_change(items, with_size_noise(items, noise, level))
    assert expected_size_change(items, noise, level) == pytest.approx(made, rel=0.08)


@settings(max_examples=6)
@given(
    bias=st.floats(0.5, 2),
    spread=st.floats(0.02, 0.5),
    degrees=st.sampled_from([2.0, 5.0, math.inf]),
    seed=st.integers(0, 99),
)
def test_measured_errors_are_those_of_the_model(bias: float, spread: float, degrees: float, seed: int) -> None:
    model = ErrorModel(bias=bias, spread=spread, degrees=degrees)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "size_noise_lines.json")
        model.write(file)
        assert ErrorModel.read(file) == model
        items = cohort(2000)
        noisy = with_size_noise(items, "measured", 1.0, seed, file=file)
        assert expected_size_change(items, "measured", 1.0, file) == pytest.approx(
            relative_size_change(items, noisy), rel=0.2
        )
    logs = (middles(noisy) / middles(items)).log().flatten()
    low, median, high = logs.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    assert median == pytest.approx(math.log(bias), abs=0.1 * spread)
    half = stats.norm.ppf(0.75) if math.isinf(degrees) else stats.t.ppf(0.75, degrees)
    assert (high - low) / 2 == pytest.approx(spread * half, rel=0.1)


def test_slices_share_the_errors_of_measured_readers(tmp_path: Path) -> None:
    ErrorModel(bias=1.1, spread=0.3).write(tmp_path / "model.json")
    areas = torch.rand(2, 3, 5, dtype=torch.float64).sort(dim=0).values + 1
    items = [{"image": str(i), "slice_area_mm2": areas.clone()} for i in range(4)]
    noisy = with_size_noise(items, "measured", 1.0, file=tmp_path / "model.json")
    factors = torch.stack([item["slice_area_mm2"] / areas for item in noisy])
    torch.testing.assert_close(factors, factors[..., :1].expand_as(factors))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "found no such file"),
        ("bias 1.1", "found no bias, spread and degrees of errors"),
        ('{"bias": 1.1}', "found no key 'spread'"),
        ('{"bias": 0, "spread": 0.1}', "bias is 0, expected more than 0"),
        ('{"bias": 1, "spread": NaN}', "spread is nan, expected a finite number"),
        ('{"bias": 1, "spread": 0.1, "degrees": -2}', "degrees is -2, expected"),
        ('{"bias": 1, "spread": 0.1, "tails": "heavy"}', "there is no key 'tails'"),
    ],
)
def test_a_missing_or_malformed_model_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "model.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=rf"model.json: .*{message}"):
        with_size_noise([], "measured", 1.0, file=file)
    with pytest.raises(ValueError, match="size_noise_file is null"):
        with_size_noise([], "measured", 1.0)


def test_of_no_sizes_and_of_no_noise_no_error_is_expected() -> None:
    assert expected_size_change([{"image": "a"}], "gaussian", 0.3) is None
    assert expected_size_change(cohort(3), None) == expected_size_change(cohort(3), "swapped", 0.0) == 0


def test_slices_share_the_errors_of_their_scans_diameters() -> None:
    areas = torch.rand(2, 3, 5, dtype=torch.float64).sort(dim=0).values + 1
    items = [{"image": str(i), "slice_area_mm2": areas.clone()} for i in range(4)]
    factors = torch.stack([item["slice_area_mm2"] / areas for item in with_size_noise(items, "diameters", 0.3)])
    torch.testing.assert_close(factors, factors[..., :1].expand_as(factors))
    assert len(factors[:, 0, :, 0].unique()) == 4 * 3


def test_log_normal_errors_are_as_likely_half_as_double() -> None:
    factors = middles(with_size_noise(cohort(), "log-normal", 0.5)) / middles(cohort())
    assert float((factors < 1).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_rounded_sizes_are_multiples_and_never_zero() -> None:
    items = cohort()
    step = 0.5 * float(middles(items)[:, 0].quantile(0.5))
    multiples = middles(with_size_noise(items, "rounded", 0.5))[:, 0] / step
    torch.testing.assert_close(multiples, multiples.round())
    assert float(multiples.min()) == pytest.approx(1)


def test_terciles_leave_three_sizes_in_order() -> None:
    items = cohort()
    graded = middles(with_size_noise(items, "terciles", 1.0))[:, 0]
    assert len(graded.round(decimals=6).unique()) == 3
    assert bool((graded.round(decimals=6).diff() >= 0).all())
    torch.testing.assert_close(graded.sum(), middles(items)[:, 0].sum())


def test_swapped_sizes_are_those_of_others() -> None:
    items = cohort(50)
    mixed = middles(with_size_noise(items, "swapped", 1.0))[:, 0]
    assert not bool((mixed == middles(items)[:, 0]).any())
    torch.testing.assert_close(mixed.sort().values, middles(items)[:, 0])


def test_missing_sizes_are_unknown_not_absent() -> None:
    low, high = torch.stack([item["volume_mm3"] for item in with_size_noise(cohort(), "missing", 0.25)], dim=1)
    assert float(high.isinf().double().mean()) == pytest.approx(0.25, abs=0.03)
    assert bool((low[high.isinf()] == 0).all())


@pytest.mark.parametrize("noise", SIZE_NOISES)
@settings(max_examples=20)
@given(level=st.floats(0.01, 0.9), seed=st.integers(0, 2**31))
def test_absent_and_unknown_stay_so_and_ends_stay_in_order(noise: str, level: float, seed: int) -> None:
    low = torch.tensor([[0.0, 5.0, 7.0], [0.0, 1.0, 2.0]], dtype=torch.float64)
    high = torch.tensor([[0.0, 6.0, 7.0], [torch.inf, 1.0, 3.0]], dtype=torch.float64)
    items = [{"image": "a", "volume_mm3": torch.stack([low, high])}, {"image": "b"}]
    noisy = with_size_noise(items, noise, level, seed)
    wrong = noisy[0]["volume_mm3"]
    assert wrong[:, :, 0].tolist() == [[0.0, 0.0], [0.0, torch.inf]]
    assert bool((wrong[0] <= wrong[1]).all())
    assert bool((wrong[1, :, 1:] > 0).all())
    assert noisy[1] == {"image": "b"}
    torch.testing.assert_close(wrong, with_size_noise(items, noise, level, seed)[0]["volume_mm3"])
    torch.testing.assert_close(items[0]["volume_mm3"], torch.stack([low, high]))


def test_seeds_and_structures_have_errors_of_their_own() -> None:
    items = cohort(50)
    factors = [middles(with_size_noise(items, "gaussian", 0.3, seed)) / middles(items) for seed in (0, 1)]
    assert abs(float(torch.corrcoef(torch.stack([factors[0][:, 0], factors[0][:, 1]]))[0, 1])) < 0.5
    assert abs(float(torch.corrcoef(torch.stack([factors[0][:, 0], factors[1][:, 0]]))[0, 1])) < 0.5


def test_no_noise_and_level_zero_change_nothing() -> None:
    items = cohort(5)
    assert with_size_noise(items, None, 0.5) == items
    assert with_size_noise(items, "gaussian", 0.0) == items


def test_nobody_measures_more_than_is_shown() -> None:
    """Two structures of 60 and 20 mm², twice as large, in a slice of 10 × 10 mm, beside one that is small enough."""
    slices = torch.tensor([[60.0, 6.0], [20.0, 2.0]], dtype=torch.float64)
    item = {"image": "a", "slice_area_mm2": slices.expand(2, 2, 2)}
    (noisy,) = with_size_noise([item], "too large", 1.0, region_mm=[10.0, 10.0, -1.0])
    expected = torch.tensor([[52.5, 12.0], [17.5, 4.0]], dtype=torch.float64)
    torch.testing.assert_close(noisy["slice_area_mm2"], expected.expand(2, 2, 2))


def test_where_no_size_is_known_nothing_changed() -> None:
    assert relative_size_change([{"image": "a"}], [{"image": "a"}]) is None


@pytest.mark.parametrize(("noise", "level", "message"), [("loud", 0.1, "size_noise is"), ("gaussian", -1, "negative")])
def test_others_are_refused(noise: str, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_size_noise([], noise, level)


def test_a_stated_error_is_the_level_around_the_wrong_size() -> None:
    plain, stated = (with_size_noise(cohort(50), "gaussian", 0.3, stated=stated) for stated in (False, True))
    for wrong, told in zip(plain, stated, strict=True):
        torch.testing.assert_close(told["volume_mm3"], wrong["volume_mm3"] * torch.tensor([[0.7], [1.3]]).double())
