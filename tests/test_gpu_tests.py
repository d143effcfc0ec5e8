"""Without a GPU its tests are found, and each is skipped with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.conftest import PROJECT


def test_without_a_gpu_its_tests_are_skipped_with_a_reason(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("MEDSIZE_GPU_TESTS_ON", raising=False)
    told = command("pytest", "tests/gpu", "-m", "gpu", "-p", "no:cacheprovider", cwd=PROJECT).stdout
    (skipped,) = re.findall(r"^=+ (\d+) skipped in ", told, re.MULTILINE)  # and nothing else
    assert int(skipped) >= 20
    reasons = re.findall(r"^SKIPPED \[(\d+)\] .*: (.*)$", told, re.MULTILINE)
    assert sum(int(number) for number, _ in reasons) == int(skipped)
    assert {reason for _, reason in reasons} == {"there is no CUDA device: torch.cuda.is_available() is false"}
