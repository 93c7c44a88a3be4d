"""What an issued forecast says of probabilities, scored as it was issued: at rain rates, and by members.

Beside the baselines of the same cycle, which say 0 or 1, and the climatology that its model knows. Amounts and the rain
of areas are summed up of the observed frames as they are of a forecast; where a part isn't known they aren't.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.common.errors import UserError, as_user_error
from pipelines.nowcast.methods.distribution import certain
from pipelines.nowcast.scores import CLIMATOLOGY
from pipelines.operation.products.accumulation import PERIODS_MIN, amounts
from pipelines.operation.products.areas import Area, area_means, digest, read_areas
from pipelines.operation.products.dataset import RATE
from pipelines.operation.products.names import NETCDF
from pipelines.operation.products.published import Probabilities, PublishedForecast, read_probabilities
from pipelines.radar.frame import Rain
from pipelines.radar.grid import Grid
from pipelines.verification.probabilities import score_probabilities

ISSUED, OBSERVED = "issued", "observed"
QUANTITY = "quantity"  # the column that says what probabilities are of
REGION = "region_"
OTHER_AREAS = "these are other areas than those that were issued"


class Cycle(NamedTuple):
    """An issued forecast, and what it is scored against.

    Parameters
    ----------
    issued : PublishedForecast
    fields : mapping of str to ndarray of shape (leads, H, W), mm/h
        Of the forecasters, `ISSUED` among them.
    observed : ndarray of shape (leads, H, W), mm/h
    mask : ndarray of shape (leads, H, W)
        The pixels that count: observed, and known to all.
    newest : ndarray of shape (H, W), mm/h
        The newest frame at issue.
    instants : bool
        Whether rates are of instants, not over intervals.
    grid : Grid
    areas : Path, optional
        The domain's file of them.
    """

    issued: PublishedForecast
    fields: Mapping[str, Rain]
    observed: Rain
    mask: NDArray[np.bool_]
    newest: Rain
    instants: bool
    grid: Grid
    areas: Path | None


def score_issued_probabilities(cycle: Cycle) -> Iterator[pd.DataFrame]:
    """Yield what the probabilities of an issued forecast got right, and those of the baselines and of climatology.

    One lead time or period after the other, as sums of `score_probabilities` with columns `QUANTITY`, forecaster and
    gap; nothing for what wasn't issued or can't be counted.

    Raises
    ------
    UserError
        If what was issued can't be read, or is no distribution.
    """
    issued = cycle.issued
    refusal, areas = "", list[Area]()
    if issued.areas_sha256 is not None:
        try:
            areas = _areas_of(cycle)
        except UserError as error:
            refusal = str(error)
    fields = {name: field for name, field in cycle.fields.items() if name != ISSUED} | {OBSERVED: cycle.observed}

    @cache
    def values(quantity: str) -> Mapping[str, NDArray[np.float32]]:
        """Return what is observed and what the baselines say, of shape (times, H, W) or (times, A)."""
        if quantity == RATE:
            return fields
        if quantity == REGION + RATE:
            return {name: area_means(_known(cycle, field), areas) for name, field in fields.items()}
        if quantity.startswith(REGION):
            of_pixels = values(quantity.removeprefix(REGION))
            return {name: area_means(amount, areas) for name, amount in of_pixels.items()}
        return {name: _amounts(cycle, field, quantity) for name, field in fields.items()}

    for given in read_probabilities(issued.folder):
        if refusal and given.of.startswith(REGION):
            of_file = {"minutes": [given.minutes], "threshold": np.nan, "gap": refusal, "forecaster": ISSUED}
            yield pd.DataFrame(of_file | {QUANTITY: given.of})
            continue
        of_time = {name: field[given.number] for name, field in values(given.of).items()}
        # Of members' sums all parts have to be known, of rates that pixel at that time.
        known = np.all([np.isfinite(one) for one in of_time.values()], axis=0)
        counts = cycle.mask[given.number] if given.of == RATE else known
        if counts.any():
            yield from _score(given, of_time, counts, issued)


def _score(
    given: Probabilities,
    of_time: Mapping[str, NDArray[np.float32]],
    counts: NDArray[np.bool_],
    issued: PublishedForecast,
) -> Iterator[pd.DataFrame]:
    said = {name: certain(one[None], given.thresholds)[0] for name, one in of_time.items() if name != OBSERVED}
    said[ISSUED] = given.exceedance
    if given.of == RATE and (frequency := issued.frequency) is not None:
        said[CLIMATOLOGY] = np.broadcast_to(frequency[:, None, None], given.exceedance.shape)
    for name, exceedance in said.items():
        try:
            sums = score_probabilities(
                exceedance[None],
                of_time[OBSERVED][None],
                counts[None],
                given.thresholds,
                minutes=[given.minutes],
                members=given.members if name == ISSUED else None,
            )
        except UserError as error:
            raise UserError(f"{issued.folder / NETCDF}: {given.of}: {error}") from None
        yield sums.assign(forecaster=name, gap="", **{QUANTITY: given.of})


def _known(cycle: Cycle, field: Rain) -> Rain:
    return np.where(cycle.mask, field, np.float32(np.nan))


def _amounts(cycle: Cycle, field: Rain, quantity: str) -> Rain:
    """Return a field's amounts over the periods of ``quantity``, NaN where a part of one doesn't count."""
    (minutes,) = (minutes for minutes in PERIODS_MIN if quantity.endswith(f"_{minutes}min"))
    step_s = int((cycle.issued.valid[0] - cycle.issued.reference).astype(int))
    amount, _ = amounts(_known(cycle, field), cycle.newest, step_s, 60 * minutes, instants=cycle.instants)
    return amount


def _areas_of(cycle: Cycle) -> list[Area]:
    """Read the areas that were issued; raises UserError if the domain's file has others now."""
    if cycle.areas is None:
        raise UserError("the domain has no areas any more")
    with as_user_error(f"{cycle.areas}"):
        areas, _ = read_areas(cycle.areas, cycle.grid)
    if digest(areas) != cycle.issued.areas_sha256:
        raise UserError(f"{cycle.areas}: {OTHER_AREAS}")
    return areas
