"""What a method knows of the rain to come: probabilities of exceedance, and the fields that stand for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipelines.nowcast.methods.extrapolation import Forecaster
from pipelines.radar.frame import Rain

# (leads, K, H, W): probability of a rain rate of at least each of K rates; NaN at all of them where nothing is known.
# Of a continent, whose probabilities no memory holds, a dask array of such: `np.asarray(exceedance[lead])` takes both.
# Such are its fields (leads, H, W), too.
Exceedance = NDArray[np.float32]


class Distribution(NamedTuple):
    """One forecast's probabilities, and what else came out of the same run.

    Parameters
    ----------
    exceedance : ndarray of shape (leads, K, H, W)
    fields : mapping of str to ndarray of shape (leads, H, W), mm/h
        Rain fields by kind; the first is what the forecaster gives when it is called.
    members : int, optional
        Of the ensemble whose shares the probabilities are; None where they are no ensemble's.
    """

    exceedance: Exceedance
    fields: Mapping[str, Rain]
    members: int | None = None


class Fields(Mapping[str, Rain]):
    """Fields that are made when they are looked at: who wants one waits for one."""

    def __init__(self, makers: Mapping[str, Callable[[], Rain]]) -> None:
        self.makers = makers

    def __getitem__(self, kind: str) -> Rain:
        return self.makers[kind]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)


@runtime_checkable
class ProbabilisticForecaster(Protocol):
    """A forecaster that also tells how likely it is."""

    def __call__(self, rain_rate: Rain, leads: int) -> Rain:
        """Forecast (leads, H, W) mm/h from (T_in, H, W) mm/h."""

    def distribution(self, rain_rate: Rain, leads: int, rates: Sequence[float]) -> Distribution:
        """Forecast at ``rates``, mm/h, ascending; raises UserError for rates that it hasn't."""


def distribution_of(forecaster: Forecaster, rain_rate: Rain, leads: int, rates: Sequence[float]) -> Distribution:
    """Return any method's distribution: of one that gives no probabilities its field's, of 0 and 1.

    The CRPS of such a one is about its mean absolute error between the lowest and the highest rate.
    """
    if isinstance(forecaster, ProbabilisticForecaster):
        return forecaster.distribution(rain_rate, leads, rates)
    field = forecaster(rain_rate, leads)
    return Distribution(certain(field, rates), {"field": field})


def certain(field: Rain, rates: Sequence[float]) -> Exceedance:
    """Return rain (leads, ...) as probabilities (leads, K, ...) of 0 and 1; NaN where it is NaN."""
    levels = np.array(rates, np.float32).reshape(-1, *(1 for _ in field.shape[1:]))
    exceedance = (field[:, None] >= levels).astype(np.float32)
    np.copyto(exceedance, np.nan, where=np.isnan(field)[:, None])
    return exceedance
