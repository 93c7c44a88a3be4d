"""How often it rains so much: probabilities that know nothing of today, which skill is measured against."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError, model_validator

from pipelines.common.errors import UserError, in_short
from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.distribution import Exceedance
from pipelines.nowcast.methods.neighbourhood import ExceedanceForecaster
from pipelines.params.base import Section, Share, reason_of
from pipelines.params.nowcast import Rates
from pipelines.radar.frame import Rain


class Climatology(Section):
    """Shares of the pixels of the train events' frames at or above each of ``rates``, mm/h: data/climatology.json."""

    rates: Rates
    exceedance: list[Share]

    @model_validator(mode="after")
    def _a_share_for_each_rate(self) -> "Climatology":
        if len(self.exceedance) != len(self.rates):
            raise ValueError("exceedance: a share for each of rates")
        return self

    @classmethod
    def read(cls, file: Path) -> "Climatology":
        """Return what the stage ``index`` wrote; raises UserError if it isn't there, or no climatology."""
        try:
            return cls.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise UserError(f"{file}: {reason_of(error)}") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: no climatology, which the stage index writes: {in_short(error)}") from None


def climatology(of: Climatology) -> ExceedanceForecaster:
    """Return the forecaster that says the same everywhere and always, and nothing where rain would come from outside.

    It raises UserError when it is asked for a rate that the climatology hasn't.
    """
    share = dict(zip(of.rates, of.exceedance, strict=True))

    def exceedance(rain_rate: Rain, leads: int, rates: Sequence[float]) -> Exceedance:
        if unknown := [rate for rate in rates if rate not in share]:
            raise UserError(f"the climatology has no rain rate of {unknown[0]:g} mm/h: run the stage index again")
        newest = rain_rate[-1]
        moved = lagrangian.advect(np.repeat(newest[None], leads, axis=0), lagrangian.motion(rain_rate))
        known = np.isfinite(moved) & np.isfinite(newest)
        shares = np.array([share[rate] for rate in rates], np.float32)[:, None, None]
        return np.where(known[:, None], shares, np.float32(np.nan))

    return ExceedanceForecaster(exceedance, of.rates)
