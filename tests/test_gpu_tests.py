"""Without a GPU its tests are found, and each is skipped with the reason."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import PROJECT


class Outcomes:
    """Plugin that keeps what became of each test."""

    def __init__(self) -> None:
        self.skipped: list[str] = []
        self.others = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            self.skipped.append(report.longrepr[2])
        elif report.when == "call" or report.failed:
            self.others += 1


def test_without_a_gpu_its_tests_are_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("MEDSIZE_GPU_TESTS_ON", raising=False)
    outcomes = Outcomes()
    folder = str(PROJECT / "tests" / "gpu")
    assert pytest.main([folder, "-m", "gpu", "-q", "-p", "no:cacheprovider"], plugins=[outcomes]) == 0
    assert outcomes.others == 0
    assert len(outcomes.skipped) >= 20
    assert set(outcomes.skipped) == {"Skipped: there is no CUDA device: torch.cuda.is_available() is false"}
