"""The ledger: what became of each issued forecast, as Parquet files that are written once and never again.

``OUT/ledger/date=YYYY-MM-DD/STAMP.parquet``, one file a cycle under the UTC day of its reference time; together a
dataset for pandas, pyarrow or DuckDB. A row is a forecaster, a lead time and a threshold:

==================================================  ==================================================================
``domain``, ``reference_time``, ``valid_time``      UTC; the cycle is (domain, reference_time)
``model_name``, ``model_version``, ``method``       what made the issued forecast
``fallback``                                        whether something else than the domain's model made it
``forecaster``                                      ``issued``, or the same cycle's ``extrapolation``, ``persistence``
``gap``                                             why nothing was counted, or empty
``scored``                                          when the cycle was closed, UTC
``minutes``, ``threshold`` and the sums             see :func:`pipelines.verification.scoring.score_forecast`
==================================================  ==================================================================

Beside it, and alike, ``OUT/ledger_probabilities`` of cycles with probabilities: the rows that were counted, a threshold
being one of the model's rates, with the sums of :func:`pipelines.verification.probabilities.score_probabilities`, and a
forecaster more, ``climatology``, where the model knows it.

And ``OUT/ledger_members`` of cycles with members: the same sums of the shares of members, and of extrapolation and
persistence, for each ``quantity``: ``rainfall_amount_30min`` and ``_60min``, pixels counting; ``region_rainfall_flux``,
``region_rainfall_amount_30min`` and ``_60min``, areas counting. ``threshold`` is mm/h or mm, ``minutes`` the end of the
period. A row with a ``gap`` is of areas that nobody knows any more.

And ``OUT/ledger_ensembles`` of cycles that kept their members: the sums of
:func:`pipelines.operation.verify_ensemble.score_issued_members`, of what was issued alone.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path
from pipelines.common.format_version import FORMAT_VERSION, check_format
from pipelines.operation.products.names import stamp

LEDGER, PROBABILITIES, MEMBERS = "ledger", "ledger_probabilities", "ledger_members"
ENSEMBLES = "ledger_ensembles"
BESIDE = PROBABILITIES, MEMBERS, ENSEMBLES
FORMATS = dict.fromkeys((LEDGER, *BESIDE), 1)  # versions of what is described above, in each file's metadata
COLUMNS = [
    *("domain", "reference_time", "valid_time", "model_name", "model_version", "method", "fallback"),
    *("forecaster", "gap", "scored", "minutes", "threshold"),
]  # and the sums
BY_DAY = ds.partitioning(pa.schema([("date", pa.string())]), flavor="hive")


def ledger_file(out: Path, reference: np.datetime64, kind: str = LEDGER) -> Path:
    """Path of a cycle's file, in the ledger of a domain whose forecasts are in ``out``."""
    return out / kind / f"date={reference.astype('datetime64[D]')}" / f"{stamp(reference)}.parquet"


def append(
    out: Path, reference: np.datetime64, table: pd.DataFrame, beside: Mapping[str, pd.DataFrame] | None = None
) -> None:
    """Add a cycle's rows, and those ``beside`` by the kind of ledger, all or none.

    Raises
    ------
    UserError
        If the cycle is in the ledger.
    """
    path = ledger_file(out, reference)
    if path.exists():
        raise UserError(f"{path}: this cycle is in the ledger, and what is there stays as it is")
    for kind, rows in (beside or {}).items():
        _write(rows, ledger_file(out, reference, kind), FORMATS[kind])
    _write(table, path, FORMATS[LEDGER])  # last: it says that the cycle is closed


def _write(table: pd.DataFrame, path: Path, version: int) -> None:
    content = pa.Table.from_pandas(table, preserve_index=False)
    content = content.replace_schema_metadata({**(content.schema.metadata or {}), FORMAT_VERSION: str(version)})
    with atomic_path(path) as temporary:
        pq.write_table(content, temporary)


def read_ledger(
    out: Path, since: np.datetime64 | None = None, until: np.datetime64 | None = None, kind: str = LEDGER
) -> pd.DataFrame:
    """Read the rows of cycles of ``since`` < reference time <= ``until`` (UTC; open where None), in their order.

    Of the ledger, or of one of `BESIDE` it. Empty, without columns, where nothing has been verified yet.

    Raises
    ------
    UserError
        If a file is of a newer format.
    """
    folder = out / kind
    if not any(folder.glob("date=*/*.parquet")):
        return pd.DataFrame()
    date, reference, chosen = ds.field("date"), ds.field("reference_time"), ds.scalar(True)
    if since is not None:
        chosen &= (date >= str(since.astype("datetime64[D]"))) & (reference > since.astype("datetime64[ns]"))
    if until is not None:
        chosen &= (date <= str(until.astype("datetime64[D]"))) & (reference <= until.astype("datetime64[ns]"))
    ledger = ds.dataset(folder, format="parquet", partitioning=BY_DAY)
    for file in ledger.get_fragments(chosen):
        check_format((file.physical_schema.metadata or {}).get(FORMAT_VERSION.encode()), FORMATS[kind], file.path)
    table = ledger.to_table(filter=chosen).to_pandas()
    order = ["reference_time", "forecaster", "threshold", "minutes"]
    return table.drop(columns="date").sort_values(order, ignore_index=True)
