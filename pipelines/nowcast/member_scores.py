"""The members of a method's forecast, scored as they come: all of them at all lead times don't fit into memory."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.nowcast.methods.distribution import Distribution, ProbabilisticForecaster, distribution_of
from pipelines.nowcast.methods.extrapolation import Forecaster
from pipelines.nowcast.methods.members import draw_members
from pipelines.nowcast.methods.steps import PystepsEnsemble
from pipelines.params.nowcast import Evaluate, Index
from pipelines.radar.frame import Rain
from pipelines.verification.amounts import AmountSums
from pipelines.verification.ensembles import EnsembleSums


class MemberScores:
    """What the members of one method's forecasts of one time got right.

    Parameters
    ----------
    observed, mask : ndarray of shape (leads, H, W)
        What came, mm/h, and which pixels count.
    moved : ndarray of shape (leads, H, W), mm/h
        Extrapolation, for what pysteps' members leave out.
    """

    def __init__(
        self,
        observed: Rain,
        mask: NDArray[np.bool_],
        moved: Rain,
        minutes: Sequence[float],
        pixel_m: float,
        *,
        index: Index,
        params: Evaluate,
    ) -> None:
        self.index, self.params, self.moved = index, params, moved
        self.ensemble = EnsembleSums(observed, mask, params.thresholds, pixel_m=pixel_m, minutes=minutes)
        self.amounts = AmountSums(observed, mask, pixel_m=pixel_m, minutes=minutes)
        self.leads = 0

    def forecast(self, forecaster: Forecaster, seen: Rain) -> Distribution:
        """Forecast by a method; the members of one that is an ensemble are scored on the way, those of others drawn."""
        leads, rates = self.index.leads, self.index.rates
        if isinstance(forecaster, PystepsEnsemble):
            return forecaster.distribution(seen, leads, rates, tell=self._tell)
        distribution = distribution_of(forecaster, seen, leads, rates)
        if isinstance(forecaster, ProbabilisticForecaster) and self.params.members:
            of = {"count": self.params.members, "seed": self.params.seed}
            for member in draw_members(distribution.exceedance, rates, seen, **of):
                for lead, field in enumerate(member):
                    self._add(lead, field)
        return distribution

    def table(self) -> pd.DataFrame:
        """Return all sums, those of rates, amounts and areas by column ``of``; none of a method without members."""
        if not all(self.ensemble.members):  # pysteps gave up on the way, too
            return pd.DataFrame()
        rates = self.ensemble.table(self.params.seed).assign(of="rates")
        return pd.concat([rates, self.amounts.table(self.index.rates)], ignore_index=True)

    def _tell(self, members: NDArray[np.float64]) -> None:
        for member in members:
            self._add(self.leads, np.where(np.isfinite(member), member, self.moved[self.leads]))
        self.leads += 1

    def _add(self, lead: int, member: Rain) -> None:
        self.ensemble.add(lead, member)
        self.amounts.add(lead, member)
