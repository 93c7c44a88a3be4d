"""The members that an issued forecast kept, scored as they were issued: ranks, spread and error, spectra."""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.operation.products.names import NETCDF
from pipelines.operation.products.published import PublishedForecast, read_members
from pipelines.radar.frame import Rain
from pipelines.verification.ensembles import EnsembleSums, rank_columns

RANKS = "ranks"  # the column of a list a row: a file's cycles needn't have as many members as another's


def score_issued_members(
    issued: PublishedForecast, observed: Rain, mask: NDArray[np.bool_], thresholds: Sequence[float]
) -> Iterator[pd.DataFrame]:
    """Yield what the members got right, lead time by lead time: nothing where none were kept, or nothing counts.

    Parameters
    ----------
    observed : ndarray of shape (leads, H, W), mm/h
    mask : ndarray of shape (leads, H, W)
        The pixels that count; those that members don't know don't.
    thresholds : sequence of float
        mm/h, of the probabilities whose FSS is taken.

    Yields
    ------
    DataFrame
        Sums of :meth:`pipelines.verification.ensembles.EnsembleSums.table`, ranks as one column `RANKS`. Ties are
        parted by a seed that is the reference time.

    Raises
    ------
    UserError
        If the members can't be read, or know other pixels than each other.
    """
    for lead, of_lead in groupby(read_members(issued.folder), itemgetter(0)):
        members = (member for _, member in of_lead)
        first = next(members)
        counts = mask[lead] & np.isfinite(first)
        if not counts.any():
            continue
        minutes = [float(issued.minutes[lead])]
        sums = EnsembleSums(observed[None, lead], counts[None], thresholds, pixel_m=issued.pixel_m, minutes=minutes)
        try:
            for member in chain([first], members):
                sums.add(0, member)
        except UserError as error:
            raise UserError(f"{issued.folder / NETCDF}: {error}") from None
        table = sums.table(int(issued.reference.astype(int)))
        ranks = rank_columns(table)
        yield table.assign(**{RANKS: table[ranks].to_numpy().tolist()}).drop(columns=ranks)


def with_ranks(sums: pd.DataFrame) -> pd.DataFrame:
    """Return sums of cycles by as many members each with a column a rank, as `ensemble_scores` wants them."""
    ranks = pd.DataFrame(sums[RANKS].tolist(), index=sums.index).add_prefix("rank_")
    return sums.drop(columns=RANKS).join(ranks)
