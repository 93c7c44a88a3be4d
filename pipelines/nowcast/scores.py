"""What evaluation leaves of a method for comparison and registration: its sums, and examples of its forecasts."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import xarray as xr

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import atomic_path
from pipelines.params.read import Params
from pipelines.radar.frame import Rain

CLIMATOLOGY = "climatology"  # the method that Brier skill is against
# Store and first frame of a forecast to its maps at `pipelines.radar.lead_times.few_leads`, (lead times, H, W) in mm/h.
Examples = Mapping[tuple[str, int], Rain]


def read_scores(scores: Path, params: Params) -> dict[str, pd.DataFrame]:
    """Return the sums of every baseline and model that has been evaluated, by name: `make demo` leaves most out.

    Further fields of a probabilistic model are by names such as "scs (mean)".

    Raises
    ------
    UserError
        If there are none of extrapolation, or of any model.
    """
    files = {name: scores / f"{name}.parquet" for name in [*params.baselines, *params.trained]}
    tables = {name: pd.read_parquet(file) for name, file in files.items() if file.exists()}
    if "extrapolation" not in tables:
        raise UserError(f"{scores}/extrapolation.parquet: no scores of extrapolation, which a network has to beat")
    if not tables.keys() & {*params.trained}:
        raise UserError(f"{scores}: no scores of any of params.yaml's trained: {', '.join(params.trained)}")
    return {label: rows for name, sums in tables.items() for label, rows in by_field(name, sums).items()}


def read_probabilities(probabilities: Path, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return the sums of probabilities, or of members, of those of ``names`` that have any: older code scored none."""
    files = {name: probabilities / f"{name}.parquet" for name in names}
    tables = {name: pd.read_parquet(file) for name, file in files.items() if file.exists()}
    return {name: table for name, table in tables.items() if not table.empty}


def by_field(name: str, sums: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return a method's sums by field: those of its first by the method's name, of the others such as "scs (mean)"."""
    if "field" not in sums:  # scored by version 0.1 or 0.2
        return {name: sums}
    kinds = sums["field"].unique()
    return {name if kind == kinds[0] else f"{name} ({kind})": sums[sums["field"] == kind] for kind in kinds}


def wettest(sums: pd.DataFrame) -> tuple[str, int]:
    """Return store and first frame of the forecast of the most rain observed: the same by any method's sums."""
    lowest = sums[sums["threshold"] == sums["threshold"].min()]
    observed = (lowest["hits"] + lowest["misses"]).groupby([lowest["store"], lowest["t0"]]).sum()
    return observed.idxmax()


def write_examples(examples: Examples, file: Path) -> None:
    """Write examples to a netCDF file, a group each; the same ones are the same bytes."""
    groups = {
        str(number): xr.Dataset(
            {"rainfall_flux": (("lead", "y", "x"), maps, {"units": "kg m-2 h-1"})}, attrs={"store": store, "t0": t0}
        )
        for number, ((store, t0), maps) in enumerate(examples.items())
    }
    encoding = {f"/{name}": {"rainfall_flux": {"zlib": True}} for name in groups}
    with atomic_path(file) as temporary:
        xr.DataTree.from_dict(groups).to_netcdf(temporary, encoding=encoding, engine="netcdf4")


def read_examples(file: Path) -> dict[tuple[str, int], Rain]:
    """Return what :func:`write_examples` wrote; raises UserError if the file can't be read."""
    try:
        with xr.open_datatree(file, engine="netcdf4") as tree:
            return {(one.attrs["store"], int(one.attrs["t0"])): one["rainfall_flux"].to_numpy() for one in tree.leaves}
    except (OSError, KeyError) as error:
        raise UserError(f"{file}: no examples of forecasts: {in_short(error)}") from None
