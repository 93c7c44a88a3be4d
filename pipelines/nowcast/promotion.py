"""The gate: a network becomes champion only if what it gains in mean CSI is no chance.

By itself nothing moves the champion but :func:`judge`'s yes; by hand :func:`promote` and :func:`rollback` do, and
are recorded as the same decisions.
"""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from pipelines.common.errors import UserError
from pipelines.nowcast.specification import NAME, RADAR
from pipelines.tracking import decisions
from pipelines.verification.bootstrap import Difference, common_forecasts, paired_difference
from pipelines.verification.scoring import mean_csi
from pipelines.verification.table import without_nan

METRIC = "mean CSI"  # of pipelines.verification.scoring.mean_csi
MIN_BLOCKS = 8  # from fewer, a bootstrap's interval is too narrow to decide by itself
LONGEST_REASON = 1000  # characters: MLflow's tags have an end


@dataclass(frozen=True)
class Judgement:
    """What the challenger scored against the other two, on the forecasts that all three have.

    Parameters
    ----------
    challenger, champion, extrapolation : float
        Mean CSI.
    to_champion, to_extrapolation : Difference
        The challenger's minus theirs.
    forecasts : int
    """

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
        return (
            f"{METRIC} {self.challenger:.4f} against the champion's {self.champion:.4f} and extrapolation's "
            f"{self.extrapolation:.4f}; difference [95 %] {self.to_champion} to the champion, "
            f"{self.to_extrapolation} to extrapolation; {self.forecasts} forecasts, {self.blocks} block(s){few}"
        )

    def evidence(self) -> dict[str, Any]:
        """Return all numbers for JSON, null for what is undefined."""
        return without_nan(asdict(self) | {"metric": METRIC, "min_blocks": MIN_BLOCKS, "blocks": self.blocks})


def judge(challenger: pd.DataFrame, champion: pd.DataFrame, extrapolation: pd.DataFrame) -> Judgement:
    """Return the challenger's comparison with champion and extrapolation, by paired block bootstrap.

    Parameters
    ----------
    challenger, champion, extrapolation : DataFrame
        Sums of :func:`pipelines.nowcast.evaluate.evaluate`; the latter two may be the same.

    Raises
    ------
    UserError
        If there is no forecast that all three have.
    """
    kept, _ = common_forecasts({"challenger": challenger, "champion": champion, "extrapolation": extrapolation})
    challenger, champion, extrapolation = kept["challenger"], kept["champion"], kept["extrapolation"]
    return Judgement(
        challenger=mean_csi(challenger),
        champion=mean_csi(champion),
        extrapolation=mean_csi(extrapolation),
        to_champion=paired_difference(challenger, champion),
        to_extrapolation=paired_difference(challenger, extrapolation),
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
    """Make the champion before the present one the champion again; return its number.

    Raises
    ------
    UserError
        If there was none before, or it isn't in the registry any more.
    """
    decisions.catch_up(RADAR)
    past = decisions.champion_periods(decisions.read_decisions(RADAR))
    if len(past) < 2:
        raise UserError(f"{NAME}: no champion before the present one")
    version = RADAR.find_version(f"models:/{NAME}/{past[-2].version}")
    decisions.record(RADAR, version, "rollback", f"back from version {past[-1].version}", {})
    return version.number
