"""Is one method better than another? Scores, and their difference on the same forecasts, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.verification.scoring import SUMS, scores_from

Tables = Mapping[str, pd.DataFrame]  # sums by the method's name
KEY = ["event", "time"]  # what tells one forecast from another, for all methods the same
CELLS = ("threshold", "minutes")  # over which a mean is
DRAWS, SEED = 2000, 1
BLOCK_HOURS = 2.0  # forecasts closer than this are of the same rain, and no independent witnesses


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
        return self._in_words(".3f")

    def _in_words(self, digits: str) -> str:
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

    def __str__(self) -> str:
        words = self._in_words("+.3f")
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


def number_blocks(forecasts: pd.DataFrame, hours: float = BLOCK_HOURS) -> NDArray[np.int64]:
    """Return the number of each forecast's block: consecutive issue times of one event, of at least ``hours``.

    Parameters
    ----------
    forecasts : DataFrame
        Columns event and time (of issue). An event is cut evenly into as many blocks of ``hours`` as fit; a shorter
        one is one block.
    """
    time = pd.to_datetime(forecasts["time"])
    of_event = time.groupby(forecasts["event"])
    first = of_event.transform("min")
    span = (of_event.transform("max") - first) / pd.Timedelta(hours=hours)
    count = np.maximum(np.floor(span), 1.0)
    share = ((time - first) / pd.Timedelta(hours=hours) / span.where(span > 0, 1.0)).to_numpy()
    piece = np.minimum(np.floor(share * count.to_numpy()), count.to_numpy() - 1)
    return forecasts.assign(piece=piece).groupby(["event", "piece"]).ngroup().to_numpy()


def paired_difference(sums_a: pd.DataFrame, sums_b: pd.DataFrame, *, draws: int = DRAWS) -> Difference:
    """Return the mean of pooled CSI over thresholds and lead times, of method a minus that of method b.

    By paired block bootstrap: each draw takes as many blocks as there are, with replacement, and the same ones for both
    methods; the counts of what was drawn are pooled and scored as the whole is. The interval is from the 2.5th to the
    97.5th percentile.

    Parameters
    ----------
    sums_a, sums_b : DataFrame
        Of :func:`pipelines.verification.scoring.score_forecast`, with columns event and time (of issue), of the same
        forecasts. Select rows before to compare at one threshold or lead time only.

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
    drawn, blocks = _means([sums_a, sums_b], "csi", CELLS, draws)
    return Difference(*_percentiles(drawn[0] - drawn[1]), blocks)


def mean_score(sums: pd.DataFrame, score: str = "csi", *, by: Sequence[str] = CELLS) -> Interval:
    """Return the mean of one method's pooled score over the cells of ``by``, with its interval by block bootstrap.

    Where methods differ, the interval of :func:`paired_difference` says so sooner: the weather is the same for both.

    Parameters
    ----------
    sums : DataFrame
        As there.
    score : str
        A column of :func:`pipelines.verification.scoring.scores_of`.
    by : sequence of str
        The mean is over those cells of it at which rain was observed; see
        :func:`pipelines.verification.scoring.mean_of`.
    """
    drawn, blocks = _means([sums], score, by, DRAWS)
    return Interval(*_percentiles(drawn[0]), blocks)


def _forecasts_of(sums: pd.DataFrame) -> pd.DataFrame:
    return sums[KEY].drop_duplicates().sort_values(KEY).reset_index(drop=True)


def _means(
    tables: Sequence[pd.DataFrame], score: str, by: Sequence[str], draws: int
) -> tuple[list[NDArray[np.float64]], int]:
    """Mean score of each table as it is, then of each draw, (1 + draws,); of one block there are no draws."""
    forecasts = _forecasts_of(tables[0])
    forecasts["block"] = number_blocks(forecasts)
    blocks = int(forecasts["block"].nunique())
    weights = np.ones((1, blocks), int)
    if blocks > 1:
        of_draws = np.random.default_rng(SEED).multinomial(blocks, np.full(blocks, 1 / blocks), draws)
        weights = np.concatenate([weights, of_draws])
    return [_drawn(sums.merge(forecasts, on=KEY), weights, score, by) for sums in tables], blocks


def _percentiles(means: NDArray[np.float64]) -> tuple[float, float, float]:
    """Value and interval of what :func:`_means` gave."""
    draws = means[1:][np.isfinite(means[1:])]  # a draw of dry blocks alone has no score
    if draws.size == 0 or np.isnan(means[0]):
        return float(means[0]), np.nan, np.nan
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(means[0]), float(low), float(high)


def _drawn(sums: pd.DataFrame, weights: NDArray[np.int64], score: str, by: Sequence[str]) -> NDArray[np.float64]:
    """Mean score of each draw, of shape (draws,); ``weights`` (draws, blocks) says how often each block is in it."""
    of_block = sums.groupby([*by, "block"])[SUMS].sum().unstack("block", fill_value=0.0)
    cells, draws = len(of_block), len(weights)
    values = of_block.to_numpy(float).reshape(cells, len(SUMS), -1)
    pooled = np.einsum("cnb,db->dcn", values, weights.astype(float)).reshape(draws * cells, len(SUMS))
    scores = scores_from(pd.DataFrame(pooled, columns=SUMS))
    counted = scores[score].where(scores["pod"].notna()).to_numpy().reshape(draws, cells)
    known = np.isfinite(counted)
    total = np.where(known, counted, 0.0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(draws, np.nan), where=known.any(axis=1))
