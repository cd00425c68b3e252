"""
A line of an answer: what one contestant measured at one size.
"""

from statistics import median
from typing import NamedTuple

Sample = dict[str, float]


class Row(NamedTuple):
    """What a contestant measured at one size, a sample a round, and the ratios of the figures that are compared."""

    size: int
    name: str
    samples: list[Sample]
    ratios: dict[str, list[float]]

    def median(self, figure: str) -> float:
        return median(self.values(figure))

    def values(self, figure: str) -> list[float]:
        return [sample[figure] for sample in self.samples]
