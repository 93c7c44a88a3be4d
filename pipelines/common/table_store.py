"""A table in a Zarr group: a variable a column, as xarray reads it, with a description each."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.common.format_version import FORMAT_VERSION, check_format


def variables(
    table: pd.DataFrame, columns: Mapping[str, str], dimension: str
) -> dict[str, tuple[str, NDArray[Any], dict[str, str]]]:
    """Return the variables of a Dataset: those of ``columns``, which has their descriptions, along ``dimension``."""
    return {name: (dimension, _column(table[name]), {"long_name": meaning}) for name, meaning in columns.items()}


def _column(values: pd.Series) -> NDArray[Any]:
    """Return a column as xarray writes it the same each time: pandas' own strings are not what Zarr knows."""
    return values.to_numpy(dtype=None if pd.api.types.is_numeric_dtype(values) else object)


@contextmanager
def open_table(path: Path, known_format: int, what: str) -> Iterator[xr.Dataset]:
    """Open a store whose format is ``known_format`` or older.

    Raises
    ------
    UserError
        If it is no store of ``what``, which the block finds out as well.
    """
    try:
        with xr.open_zarr(path, consolidated=False) as found:
            check_format(found.attrs.pop(FORMAT_VERSION, None), known_format, path)
            yield found
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: no store of {what}: {error}") from None


def table_of(found: xr.Dataset, columns: Iterable[str]) -> pd.DataFrame:
    """Return these variables of a store as a table."""
    return pd.DataFrame({name: found[name].to_numpy() for name in columns})
