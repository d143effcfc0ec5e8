"""Structures of measurements, by the names that a person wants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from medsize.measurements.measurement import Measurement, Readings
from medsize.scans.structure_name import matching_structures
from medsize.suggest import first_few

__all__ = ["with_structures"]


def with_structures(measurements: Sequence[Measurement], wanted: Mapping[str, str]) -> Readings:
    """
    Return the measurements under the names that are wanted for their structures.

    Args:
        measurements: measurements.
        wanted: new names, each with the name in the files, or its beginning. Default if empty: their own.
    """
    result = Readings()
    names = list(dict.fromkeys(m.structure for m in measurements if m.structure))
    new_name = {} if wanted else {name: name for name in names}
    for wanted_name, beginning in wanted.items():
        new_name |= {names[i]: wanted_name for i in matching_structures(beginning, names)}
    left_out: Counter[str] = Counter()
    for measurement in measurements:
        if not measurement.structure and len(wanted) == 1:
            result.measurements.append(replace(measurement, structure=next(iter(wanted))))
        elif not measurement.structure:
            result.problems.append(
                f"{measurement}: it names no structure, expected one. Name it in the file, or by --structure NAME."
            )
        elif measurement.structure not in new_name:
            left_out[measurement.structure] += 1
        else:
            result.measurements.append(replace(measurement, structure=new_name[measurement.structure]))
    if left_out:
        counted = first_few([f"'{name}' ({n})" for name, n in left_out.most_common()])
        result.left_out.append(f"measurements of other structures than --structure names: {counted}")
    return result
