"""The gate: a network becomes champion only if what it gains in its metric is no chance.

By itself nothing moves the champion but :func:`judge`'s yes; by hand :func:`promote` and :func:`rollback` do, and
are recorded as the same decisions.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipelines.common.errors import UserError
from pipelines.nowcast.specification import NAME, RADAR
from pipelines.tracking import decisions
from pipelines.verification import bootstrap, probabilities
from pipelines.verification.bootstrap import Difference, Statistic, common_forecasts, mean_score, paired_difference
from pipelines.verification.table import without_nan

MIN_BLOCKS = 8  # from fewer, a bootstrap's interval is too narrow to decide by itself
LONGEST_REASON = 1000  # characters: MLflow's tags have an end


class Metric(NamedTuple):
    """What networks are chosen by: its name, the statistic of their sums, how it is written, whether less is better."""

    name: str
    statistic: Statistic
    digits: str
    less_is_better: bool = False

    def value(self, sums: pd.DataFrame) -> float:
        """Return it, NaN where it is undefined."""
        return mean_score(sums, self.statistic, draws=0).value

    def merit(self, value: float) -> float:
        """Return a number that is the larger the better; an undefined value is worst."""
        return -np.inf if np.isnan(value) else -value if self.less_is_better else value

    def gain(self, sums: pd.DataFrame, others: pd.DataFrame) -> Difference:
        """Return what is better by it than in ``others``: above 0 where more is, and where less is."""
        pair = (others, sums) if self.less_is_better else (sums, others)
        return paired_difference(*pair, self.statistic)


MEAN_CSI = Metric("mean CSI", bootstrap.MEAN_CSI, ".3f")  # of the sums of fields
CRPS = Metric("CRPS", probabilities.CRPS, ".4f", less_is_better=True)  # of those of probabilities


@dataclass(frozen=True)
class Judgement:
    """What the challenger scored against the other two, on the forecasts that all three have.

    Parameters
    ----------
    metric : Metric
    challenger, champion, extrapolation : float
        Their values of it.
    to_champion, to_extrapolation : Difference
        What the challenger gains on them: its value minus theirs, or theirs minus its where less is better.
    forecasts : int
    """

    metric: Metric

    challenger: float
    champion: float
    extrapolation: float
    to_champion: Difference
    to_extrapolation: Difference
    forecasts: int

    @property
    def blocks(self) -> int:
        """Independent pieces of weather that it rests on."""
        return self.to_champion.blocks

    @property
    def promoted(self) -> bool:
        """Whether both intervals lie above zero, on blocks enough."""
        return self.blocks >= MIN_BLOCKS and self.to_champion.low > 0 and self.to_extrapolation.low > 0

    def __str__(self) -> str:
        few = "" if self.blocks >= MIN_BLOCKS else f", fewer than the {MIN_BLOCKS} that a decision takes"
        gain, digits = "gain" if self.metric.less_is_better else "difference", self.metric.digits
        return (
            f"{self.metric.name} {self.challenger:.4f} against the champion's {self.champion:.4f} and extrapolation's "
            f"{self.extrapolation:.4f}; {gain} [95 %] {self.to_champion:{digits}} to the champion, "
            f"{self.to_extrapolation:{digits}} to extrapolation; {self.forecasts} forecasts, "
            f"{self.blocks} block(s){few}"
        )

    def evidence(self) -> dict[str, Any]:
        """Return all numbers for JSON, null for what is undefined."""
        more = {"metric": self.metric.name, "min_blocks": MIN_BLOCKS, "blocks": self.blocks}
        return without_nan(asdict(self) | more)


def judge(
    challenger: pd.DataFrame, champion: pd.DataFrame, extrapolation: pd.DataFrame, metric: Metric = MEAN_CSI
) -> Judgement:
    """Return the challenger's comparison with champion and extrapolation, by paired block bootstrap.

    Parameters
    ----------
    challenger, champion, extrapolation : DataFrame
        Sums of :func:`pipelines.nowcast.evaluate.evaluate` that the metric is of; the latter two may be the same.

    Raises
    ------
    UserError
        If there is no forecast that all three have.
    """
    kept, _ = common_forecasts({"challenger": challenger, "champion": champion, "extrapolation": extrapolation})
    challenger, champion, extrapolation = kept["challenger"], kept["champion"], kept["extrapolation"]
    return Judgement(
        metric=metric,
        challenger=metric.value(challenger),
        champion=metric.value(champion),
        extrapolation=metric.value(extrapolation),
        to_champion=metric.gain(challenger, champion),
        to_extrapolation=metric.gain(challenger, extrapolation),
        forecasts=len(challenger[["event", "time"]].drop_duplicates()),
    )


def promote(uri: str, reason: str) -> str:
    """Make a version the champion by hand; return its number.

    Raises
    ------
    UserError
        If there is no such version, it is the champion, or no reason is given.
    """
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= LONGEST_REASON:
        raise UserError(f"--reason: 1 to {LONGEST_REASON} characters; got {len(reason)}")
    version = RADAR.find_version(uri)
    decisions.catch_up(RADAR)
    champion = RADAR.find_alias("champion")
    if champion and champion.number == version.number:
        raise UserError(f"{uri}: version {version.number} is the champion")
    decisions.record(RADAR, version, "promote", reason, {})
    return version.number


def rollback() -> str:
    """Make the champion before the present one the champion again; return its number. Twice goes two back.

    Raises
    ------
    UserError
        If there was none before, or it isn't in the registry any more.
    """
    decisions.catch_up(RADAR)
    past = decisions.not_taken_back(decisions.champion_periods(decisions.read_decisions(RADAR)))
    if len(past) < 2:
        raise UserError(f"{NAME}: no champion before the present one")
    version = RADAR.find_version(f"models:/{NAME}/{past[-2].version}")
    decisions.record(RADAR, version, "rollback", f"back from version {past[-1].version}", {})
    return version.number
