"""Is one method better than another? Scores, and their difference on the same forecasts, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.verification.blocks import number_blocks
from pipelines.verification.scoring import SUMS, scores_from

Tables = Mapping[str, pd.DataFrame]  # sums by the method's name
KEY = ["event", "time"]  # what tells one forecast from another, for all methods the same
CELLS = ("threshold", "minutes")  # over which a mean is
DRAWS, SEED = 2000, 1


@dataclass(frozen=True)
class Interval:
    """A score, and where it might lie as well.

    Parameters
    ----------
    value : float
        NaN where it is undefined.
    low, high : float
        Ends of the 95 % interval; NaN for fewer than two blocks.
    blocks : int
        Independent pieces of weather that it rests on.
    """

    value: float
    low: float
    high: float
    blocks: int

    def __str__(self) -> str:
        return format(self)

    def __format__(self, digits: str) -> str:
        digits = digits or ".3f"
        if np.isnan(self.value):
            return "undefined"
        if np.isnan(self.low):
            return f"{self.value:{digits}}, no interval from {self.blocks} block(s)"
        return f"{self.value:{digits}} [{self.low:{digits}} to {self.high:{digits}}]"


class Difference(Interval):
    """A score of one method minus that of another; undefined where one of the two is."""

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return bool(self.low > 0 or self.high < 0)

    def __format__(self, digits: str) -> str:
        words = super().__format__("+" + (digits or ".3f"))
        return words if self.shown or np.isnan(self.low) else f"{words}, no difference shown"


def common_forecasts(tables: Tables) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the forecasts that all methods have, and a note of how many were left out; raises UserError if all are."""
    forecasts = {name: sums[KEY].drop_duplicates() for name, sums in tables.items()}
    common = None
    for of_method in forecasts.values():
        common = of_method if common is None else common.merge(of_method, on=KEY)
    assert common is not None  # there is a method
    if common.empty:
        raise UserError(f"no forecast that all of {', '.join(tables)} have")
    left_out = max(len(of_method) for of_method in forecasts.values()) - len(common)
    notes = [f"{left_out} forecasts that not every method has are left out."] if left_out else []
    return {name: sums.merge(common, on=KEY) for name, sums in tables.items()}, notes


class Statistic(NamedTuple):
    """A number that follows from pooled sums, or an array of them.

    Parameters
    ----------
    columns : sequence of str
        The sums that it is made of.
    by : sequence of str
        Columns that tell apart the cells for which they are pooled.
    of : callable
        From sums of shape (draws, cells, columns) and the index of the cells to values of shape (draws, ...); NaN where
        undefined.
    """

    columns: Sequence[str]
    by: Sequence[str]
    of: Callable[[NDArray[np.float64], pd.Index], NDArray[np.float64]]


def mean_over_cells(score: str, by: Sequence[str] = CELLS) -> Statistic:
    """Return the mean of a score over those cells of ``by`` at which rain was observed.

    Parameters
    ----------
    score : str
        A column of :func:`pipelines.verification.scoring.scores_of`; the mean is that of
        :func:`pipelines.verification.scoring.mean_of`.
    """

    def of(sums: NDArray[np.float64], _: pd.Index) -> NDArray[np.float64]:
        draws, cells, _count = sums.shape
        scores = scores_from(pd.DataFrame(sums.reshape(draws * cells, len(SUMS)), columns=SUMS))
        counted = scores[score].where(scores["pod"].notna()).to_numpy().reshape(draws, cells)
        return mean_of_known(counted)

    return Statistic(SUMS, by, of)


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each row but for what is undefined; NaN where all is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))


MEAN_CSI = mean_over_cells("csi")


def paired_difference(
    sums_a: pd.DataFrame, sums_b: pd.DataFrame, statistic: Statistic = MEAN_CSI, *, draws: int = DRAWS
) -> Difference:
    """Return a statistic of method a minus that of method b: by default the mean of pooled CSI.

    By paired block bootstrap: each draw takes as many blocks as there are, with replacement, and the same ones for both
    methods; the sums of what was drawn are pooled and scored as the whole is. The interval is from the 2.5th to the
    97.5th percentile.

    Parameters
    ----------
    sums_a, sums_b : DataFrame
        Sums with columns event and time (of issue), of the same forecasts. Select rows before to compare at one
        threshold or lead time only.
    statistic : Statistic
        One number.

    Raises
    ------
    UserError
        If the two are not of the same forecasts.

    References
    ----------
    Künsch 1989, doi:10.1214/aos/1176347265; paired as in Hamill 1999,
    doi:10.1175/1520-0434(1999)014<0155:HTFENP>2.0.CO;2.
    """
    forecasts, others = _forecasts_of(sums_a), _forecasts_of(sums_b)
    if not forecasts.equals(others):
        raise UserError(f"not the same forecasts: {len(forecasts)} of one method and {len(others)} of the other differ")
    (a, b), blocks = _drawn([sums_a, sums_b], statistic, draws)
    value, low, high = _percentiles(a - b).tolist()
    return Difference(value, low, high, blocks)


def mean_score(sums: pd.DataFrame, statistic: Statistic = MEAN_CSI, *, draws: int = DRAWS) -> Interval:
    """Return a statistic of one method, with its interval by block bootstrap; parameters are those of there.

    Where methods differ, the interval of :func:`paired_difference` says so sooner: the weather is the same for both.
    """
    (drawn,), blocks = _drawn([sums], statistic, draws)
    value, low, high = _percentiles(drawn).tolist()
    return Interval(value, low, high, blocks)


def intervals(sums: pd.DataFrame, statistic: Statistic) -> tuple[NDArray[np.float64], int]:
    """Return a statistic of many numbers, with the low and high end of each interval, (3, ...); and the blocks."""
    (drawn,), blocks = _drawn([sums], statistic, DRAWS)
    return _percentiles(drawn), blocks


def _forecasts_of(sums: pd.DataFrame) -> pd.DataFrame:
    return sums[KEY].drop_duplicates().sort_values(KEY).reset_index(drop=True)


def _drawn(tables: Sequence[pd.DataFrame], statistic: Statistic, draws: int) -> tuple[list[NDArray[np.float64]], int]:
    """Statistic of each table as it is, then of each draw, (1 + draws, ...); of one block there are no draws."""
    forecasts = _forecasts_of(tables[0])
    forecasts["block"] = number_blocks(forecasts)
    blocks = int(forecasts["block"].nunique())
    weights = np.ones((1, blocks))  # how often each block is in a draw
    if blocks > 1:
        of_draws = np.random.default_rng(SEED).multinomial(blocks, np.full(blocks, 1 / blocks), draws)
        weights = np.concatenate([weights, of_draws])
    columns = list(statistic.columns)
    values = []
    for sums in tables:
        numbered = sums.merge(forecasts, on=KEY).groupby([*statistic.by, "block"])
        of_block = numbered[columns].sum().unstack("block", fill_value=0.0)
        each = of_block.to_numpy(float).reshape(len(of_block), len(columns), -1)
        values.append(statistic.of(np.einsum("cnb,db->dcn", each, weights), of_block.index))
    return values, blocks


def _percentiles(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Value, low and high end of what :func:`_drawn` gave, (3, ...)."""
    value, draws = drawn[0], drawn[1:]
    ends = np.full((2, *value.shape), np.nan)
    known = np.isfinite(value) & np.isfinite(draws).any(axis=0)  # a draw of dry blocks alone has no score
    if known.any():
        ends[:, known] = np.nanpercentile(draws[:, known], [2.5, 97.5], axis=0)
    return np.concatenate([value[None], ends])
