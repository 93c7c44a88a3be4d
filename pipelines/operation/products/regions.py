"""The rain of areas in a forecast's dataset, and as tables: CSV and JSON."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pipelines.common.text import csv_cell
from pipelines.operation.products.areas import Area, area_means, digest
from pipelines.operation.products.dataset import RATE
from pipelines.operation.products.variables import OF_PROBABILITY, TIMES

NAMES = "region_name"
LABELS = {"percentiles": "percentile", "probabilities": "at_least"}
ABOUT = ("title", "source", "fallback", "left_out", "license", "attribution")


def add_areas(forecast: xr.Dataset, areas: Sequence[Area]) -> xr.Dataset:
    """Put the mean rain rate and amounts of areas into a forecast: ``region_NAME`` (times, region) of each variable."""
    about = {"long_name": "name of the area", "sha256": digest(areas)}
    names = xr.Variable("region", np.array([area.name for area in areas], str), about)
    forecast = forecast.assign_coords({NAMES: names})
    for name, of in forecast.data_vars.items():
        if of.dims[0:1] and of.dims[0] in TIMES and of.dims[1:] == ("y", "x"):
            attrs = {key: value for key, value in of.attrs.items() if key not in ("grid_mapping", "standard_name")}
            attrs["long_name"] = f"{of.attrs['long_name']}, mean of the area"
            encoding = {"coordinates": f"forecast_reference_time {TIMES[of.dims[0]]} {NAMES}"}
            values = np.stack([area_means(one.to_numpy(), areas) for one in of])
            forecast = forecast.assign({f"region_{name}": xr.Variable((of.dims[0], "region"), values, attrs, encoding)})
    return forecast


def rows(forecast: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Yield what a forecast says of each area, variable and time; None is what isn't known."""
    for key, of in forecast.data_vars.items():
        name = str(key)
        if not name.startswith("region_") or of.dims[1:] != ("region",):
            continue
        percentiles, shares = forecast.get(f"{name}_percentile"), forecast.get(f"{name}{OF_PROBABILITY}")
        for region, area in enumerate(forecast[NAMES].to_numpy()):
            for number, time in enumerate(forecast[TIMES[str(of.dims[0])]].to_numpy()):
                row: dict[str, Any] = {
                    "area": str(area),
                    "quantity": name.removeprefix("region_"),
                    "units": "mm/h" if name.endswith(RATE) else "mm",
                    "valid_time": f"{np.datetime_as_string(time, 's')}Z",
                    "mean": _number(of[number, region]),
                }
                if percentiles is not None and shares is not None:
                    row["members"] = int(shares.attrs["members"])
                    row["percentiles"] = {
                        f"{one:g}": _number(percentiles[number, at, region])
                        for at, one in enumerate(forecast["percentile"].to_numpy())
                    }
                    row["probabilities"] = {
                        f"{one:g}": _number(shares[number, at, region])
                        for at, one in enumerate(forecast[shares.dims[1]].to_numpy())
                    }
                yield row


def write_tables(forecast: xr.Dataset, table: Path, document: Path) -> None:
    """Write the areas of a forecast as CSV, a line each area, variable and time, and as JSON, which has words too."""
    from pipelines.operation.products.probability_maps import in_words  # here: what draws is slow to import

    of_areas = list(rows(forecast))
    parts = {f"{LABELS[kind]}_{one}": (kind, one) for kind in LABELS for row in of_areas for one in row.get(kind, {})}
    columns = ["area", "quantity", "units", "valid_time", "mean", *(["members", *parts] if parts else [])]
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for row in of_areas:
            given = {column: row.get(kind, {}).get(one) for column, (kind, one) in parts.items()}
            writer.writerow(row | given | {"area": csv_cell(row["area"])})
    for row in of_areas:
        for kind in LABELS.keys() & row.keys():
            row[kind] = [{LABELS[kind]: float(one), "value": value} for one, value in row[kind].items()]
        for one in row.get("probabilities", ()):
            one["words"] = None if one["value"] is None else in_words(one["value"])
    about = {key: forecast.attrs[key] for key in ABOUT}
    reference = np.datetime64(forecast["forecast_reference_time"].item(), "ns")
    about["forecast_reference_time"] = f"{np.datetime_as_string(reference, 's')}Z"
    document.write_text(json.dumps(about | {"areas": of_areas}, indent=1, allow_nan=False), encoding="utf-8")


def _number(value: xr.DataArray) -> float | None:
    return round(value.item(), 3) if np.isfinite(value) else None
