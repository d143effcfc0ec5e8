"""
Fuzz ``medsize init``.

    python -m tests.fuzz --mutations 10000 --seed 0 --log fuzz.log

Every input has a seed of its own, the first one ``--seed``. An input is tried again by its seed and ``--mutations 1``;
a fuzzing goes on after a stop with the next seed of its log.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from tests.fuzz.inputs import WRITERS
from tests.fuzz.run import fuzz


def main() -> int:
    """Fuzz by the options of the command line, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=1000, help="number of inputs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first input")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time after which no further one is begun")
    parser.add_argument(
        "--kind", action="append", choices=sorted(WRITERS), help="format; may be repeated. Default: all"
    )
    parser.add_argument("--log", type=Path, help="file to write progress and faults to at once")
    options = parser.parse_args()
    for module in (
        "medsize.cli",
        "medsize.bundle.bundle_choice",
        "medsize.sizes.table.size_table",
        "medsize.cohort.init",
    ):
        __import__(module)
    gc.freeze()
    seeds = range(options.seed, options.seed + options.mutations)
    tally = fuzz(seeds, options.seconds, options.kind, options.log)
    for fault in tally.found:
        print(fault)
    print(tally)
    if options.log is not None:
        with options.log.open("a") as log:
            log.write(f"end: {tally}\n")
    return 1 if tally.found else 0


if __name__ == "__main__":
    sys.exit(main())
