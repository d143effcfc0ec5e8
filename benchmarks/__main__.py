"""
Run of all benchmarks, with a table of their results.

    python -m benchmarks [FILE]

FILE is docs/benchmarks.md by default.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import (
    first_labels,
    large_picture,
    many_classes,
    read_dicom,
    robustness_throughput,
    start_up,
    step,
    throughput_2d,
    whole_ct,
    whole_volume,
)
from benchmarks.result import machine
from medsize.files import atomic_write

PROJECT = Path(__file__).parent.parent
BENCHMARKS = (
    *(start_up, many_classes, read_dicom, step, throughput_2d, first_labels, whole_volume, whole_ct),
    large_picture,
    robustness_throughput,
)


def main() -> None:
    """Run all benchmarks; print each result, and write the table after each."""
    file = Path(sys.argv[1]) if sys.argv[1:] else PROJECT / "docs" / "benchmarks.md"
    lines = ["# Benchmarks", "", f"Made by `python -m benchmarks`: {machine()}.", ""]
    lines += [
        "Values are medians, with quartiles as their spread. "
        "The two parts of a ratio were measured in turn, in one run.",
        "",
    ]
    lines += ["| what | found | spread | limit | met | remark |", "| --- | --- | --- | --- | --- | --- |"]
    for benchmark in BENCHMARKS:
        for result in benchmark.results():
            print(result, flush=True)
            cells = (result.what, f"{result.median:.3g}", result.spread, result.limit, result.met, result.remark)
            lines.append(f"| {' | '.join(cells)} |")
        with atomic_write(file) as partial:
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
