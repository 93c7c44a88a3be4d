"""Amounts of members over an hour, at pixels and over areas: sums of their probabilities' scores.

Amounts test the correlation of members in time, areas that in space.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.radar.frame import Rain
from pipelines.verification.probabilities import score_probabilities
from pipelines.verification.spatial import scale_pixels

PERIOD_MIN = 60
AREA_KM = 16.0  # side of the squares, about a district or a small catchment


class AmountSums:
    """Amounts of one forecast's members over its first hour, or less if it is shorter; added as to `EnsembleSums`.

    A lead time's members always come in the same order.

    Parameters
    ----------
    observed : ndarray of shape (leads, H, W), mm/h
        An amount is the sum of the rates, step by step, of members and of this alike.
    mask : ndarray of shape (leads, H, W)
        A pixel counts that does at every lead time of the period, a square all of whose pixels do.
    pixel_m : float
    minutes : sequence of float
        The lead times, evenly apart.
    """

    def __init__(self, observed: Rain, mask: NDArray[np.bool_], *, pixel_m: float, minutes: Sequence[float]) -> None:
        self.leads = max(1, sum(lead <= PERIOD_MIN for lead in minutes))
        self.minutes, self.hours = minutes[self.leads - 1], minutes[0] / 60
        self.side = scale_pixels(AREA_KM, pixel_m)
        self.mask = np.logical_and.reduce(mask[: self.leads])
        amount = observed[: self.leads].sum(axis=0) * self.hours
        self.observed: Rain = np.where(self.mask, amount, 0).astype(np.float32)
        self.members: list[Rain] = []
        self.added = [0] * self.leads

    def add(self, lead: int, member: Rain) -> None:
        """Add one member (H, W), mm/h, of a lead time's number."""
        if lead >= self.leads:
            return
        number = self.added[lead]
        if number == len(self.members):
            self.members.append(np.zeros_like(self.observed))
        self.members[number] += np.where(self.mask, member, np.float32(0)) * self.hours
        self.added[lead] += 1

    def table(self, amounts: Sequence[float]) -> pd.DataFrame:
        """Return sums of :func:`score_probabilities` at ``amounts``, mm; ``of`` says amounts (pixels) or areas."""
        tables = []
        for of, side in (("amounts", 1), ("areas", self.side)):
            shares = np.zeros((len(amounts), *_means(self.observed, side).shape), np.float32)
            for member in self.members:
                of_member = _means(member, side)
                for share, amount in zip(shares, amounts, strict=True):
                    share += of_member >= amount
            scored = score_probabilities(
                np.asarray(shares[None] / len(self.members), np.float32),
                _means(self.observed, side)[None],
                _means(self.mask.astype(np.float32), side)[None] == 1,
                amounts,
                minutes=[self.minutes],
                members=len(self.members),
            )
            tables.append(scored.assign(of=of))
        return pd.concat(tables, ignore_index=True)


def _means(field: Rain, side: int) -> Rain:
    """Return the means of whole squares of ``side`` pixels."""
    H, W = (size // side for size in field.shape)
    return field[: H * side, : W * side].reshape(H, side, W, side).mean(axis=(1, 3))
