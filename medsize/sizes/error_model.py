"""Errors of readers as a distribution, kept in a small file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from scipy import stats

from medsize.files import atomic_write
from medsize.model_errors import found_and_expected

__all__ = ["ErrorModel"]

FACTORS = (0.05, 20.0)
"""Smallest and largest factor that is drawn: with heavy tails, the mean of the factors would be infinite."""
QUANTILES = 10_000
"""Number of those that an expectation is the mean of."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Degrees = Annotated[float, BeforeValidator(lambda value: math.inf if value is None else value), Field(gt=0)]


class ErrorModel(BaseModel):
    """
    Errors of readers: ln(reading / truth) has Student's t-distribution.

    It has the middle ln(``bias``), the width ``spread`` and ``degrees`` of freedom.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bias: Annotated[Finite, Field(gt=0)]
    """Factor: 1.1 if half of the readings are more than 10 % too large."""
    spread: Annotated[Finite, Field(ge=0)]
    degrees: Degrees = math.inf
    """Few mean heavy tails; infinite, ``null`` in the file, for a normal distribution."""
    method: str = ""
    """Method of the readings."""
    readings: Annotated[int, Field(ge=0)] = 0
    """Number of readings that it was fitted to."""

    @classmethod
    def read(cls, file: Path) -> ErrorModel:
        """
        Read a model.

        Args:
            file: JSON, as :meth:`write` writes it.

        Raises:
            ValueError: naming the file, when it is missing, or does not hold a model.
        """
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as e:
            raise ValueError(
                f"{file}: found no such file, expected a model of errors. Write one with medsize readers."
            ) from e
        except ValidationError as e:
            found = " ".join(map(found_and_expected, e.errors()))
            raise ValueError(
                f"{file}: found no bias, spread and degrees of errors: {found} Write one with medsize readers."
            ) from e

    def write(self, file: Path) -> None:
        """
        Write the model as JSON.

        Args:
            file: its file.

        Raises:
            OutputError: when it cannot be written.
        """
        with atomic_write(file) as partial:
            partial.write_text(self.model_dump_json(indent=2) + "\n")

    def factors(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """
        Draw factors of sizes, within 0.05 and 20.

        Args:
            count: number of factors.
            rng: source of randomness.
        """
        return self._at(rng.random(count))

    @property
    def expected_mre(self) -> float:
        """Mean of |factor − 1|."""
        return float(np.abs(self._at((np.arange(QUANTILES) + 0.5) / QUANTILES) - 1).mean())

    def _at(self, quantiles: np.ndarray) -> np.ndarray:
        """Return the factors at some quantiles."""
        normal = math.isinf(self.degrees)
        errors: Any = stats.norm.ppf(quantiles) if normal else stats.t.ppf(quantiles, self.degrees)
        low, high = np.log(FACTORS)
        factors: np.ndarray = np.exp(np.clip(math.log(self.bias) + self.spread * errors, low, high))
        return factors
