"""Whether issued probabilities go on being right: what was said against what came, over the days of rolling skill."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipelines.operation.products.dataset import RATE
from pipelines.operation.skill import counted
from pipelines.operation.verify import ISSUED, MODEL
from pipelines.operation.verify_probabilities import QUANTITY
from pipelines.verification.odds import odds_by_class
from pipelines.verification.probabilities import few_rates

WEATHER = "6h"  # cycles of such a part of a day are one block: what is wrong in one is wrong in all of them
BLOCKS = 8  # in which the unlikely came, or something was likely, before it is told of in an alarm
FACTOR = 2.0  # by which odds are off, surely, before it is told of
ENOUGH_MEMBERS = 20  # shares of fewer are too sure by themselves, the members being as good as can be


class Reliability(NamedTuple):
    """How often came what a model version's forecasts said of a quantity to be as likely.

    Parameters
    ----------
    model : tuple of str
        Name, version, method.
    quantity : str
        ``rainfall_flux``, or a `pipelines.operation.ledger.MEMBERS` one.
    table : DataFrame
        See :func:`pipelines.verification.odds.odds_by_class`; blocks in the place of times.
    """

    model: tuple[str, ...]
    quantity: str
    table: pd.DataFrame


def reliability(probabilities: pd.DataFrame, members: pd.DataFrame) -> Iterator[Reliability]:
    """Yield the reliability of what each model version has issued, by the ledgers of probabilities and of members."""
    for ledger in (probabilities, members):
        own = counted(ledger)
        if own.empty:
            continue
        own = own[(own["forecaster"] == ISSUED) & ~(own["members"] < ENOUGH_MEMBERS)]
        own = own.assign(event=0, time=own["reference_time"].dt.floor(WEATHER))
        of = QUANTITY if QUANTITY in own else own["model_name"].map(lambda _: RATE)
        for (*model, quantity), rows in own.groupby([*MODEL, of]):
            shown = rows[rows["threshold"].isin(few_rates(rows["threshold"]))] if ledger is probabilities else rows
            yield Reliability(tuple(model), str(quantity), odds_by_class(shown).rename(columns={"times": "blocks"}))


def drift(probabilities: pd.DataFrame, members: pd.DataFrame) -> str | None:
    """Return in words what the newest model version's probabilities are off by most; None if they aren't.

    They are where the whole interval of the odds is off by more than `FACTOR`, either way, on `BLOCKS` blocks at least.
    """
    cycles = [rows[["reference_time", *MODEL]] for rows in (counted(probabilities), counted(members)) if not rows.empty]
    if not cycles:
        return None
    all_cycles = pd.concat(cycles)
    newest = name, version, method = tuple(all_cycles.iloc[all_cycles["reference_time"].argmax()][MODEL])
    off: dict[float, str] = {}
    for _, quantity, table in (one for one in reliability(probabilities, members) if one.model == newest):
        sure = table[(table["blocks"] >= BLOCKS) & ((table["low"] > FACTOR) | (table["high"] < 1 / FACTOR))]
        for row in sure.reset_index().itertuples():
            at = f"{row.threshold:g} mm{'/h' if quantity.endswith(RATE) else ''}"
            off[abs(np.log(row.odds))] = (
                f"{name} version {version} ({method}): where {quantity} of at least {at} was {row.label}, "
                f"{row.said:.2%} was said and {row.came:.2%} came: "
                f"{row.odds:.2g} [{row.low:.2g} to {row.high:.2g}] times the odds, "
                f"over {row.blocks} blocks of {WEATHER}"
            )
    return off[max(off)] if off else None
