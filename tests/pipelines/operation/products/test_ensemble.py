"""What members say: percentiles and shares by hand, and a forecast with all of it as others read it."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from archive import moving_cells
from domains import SIMULATED
from geojson import box, feature, written
from small_model import Mixture, loaded, probabilistic

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.distribution import Distribution
from pipelines.nowcast.methods.members import draw_members
from pipelines.nowcast.registered_model import LoadedModel
from pipelines.operation.forecast import forecast
from pipelines.operation.inputs import Source
from pipelines.operation.products.attributes import ForecastAttributes
from pipelines.operation.products.dataset import PROBABILITY
from pipelines.operation.products.ensemble import Ensemble, gather, statistics
from pipelines.operation.products.geotiff import write_cogs
from pipelines.operation.products.names import AREAS_CSV, AREAS_JSON, COGS, NETCDF, ZARR
from pipelines.operation.products.probability_maps import draw_probabilities
from pipelines.operation.products.regions import write_tables
from pipelines.params.operation import Members
from pipelines.radar.frame import Frame
from pipelines.radar.grid import Grid

SHAPE, RATES, AMOUNTS = (40, 50), [0.1, 1.0, 5.0], [0.5, 2.0]
DEGREES = Grid.from_edges(pyproj.CRS.from_epsg(4326), left=5.0, top=52.0, dx=0.02, dy=0.01, shape=SHAPE)
FRAMES = moving_cells("2024-06-01T23:40", 4, shape=SHAPE)
ON_DEGREES = [replace(frame, grid=DEGREES) for frame in FRAMES]
MEMBERS = Members(count=5, seed=3, keep=True, amounts=AMOUNTS)
# Rows 10 to 19 and columns 20 to 39; and one of a name as a spreadsheet doesn't want it.
AREAS = [feature("Zürich", box(5.4, 51.8, 5.8, 51.9)), feature("=1+1", box(5.2, 51.7, 5.4, 51.8))]


def made(frames: list[Frame], model: LoadedModel | None = None, **asked: Any) -> tuple[xr.Dataset, list[Frame]]:
    by_time = {frame.time: frame for frame in frames}
    source = Source("radar", np.array(list(by_time)), by_time.__getitem__)
    return forecast(source, lambda: model or probabilistic(RATES), SIMULATED.policy, **asked)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Cycles with members and areas, on degrees and in a projection."""
    out = tmp_path_factory.mktemp("out")
    areas = {"degrees": AREAS, "metres": [feature("all", box(10.05, 54.7, 10.5, 54.95))]}
    for name, frames in (("degrees", ON_DEGREES), ("metres", FRAMES)):
        (out / name / COGS).mkdir(parents=True)
        given, _ = made(frames, members=MEMBERS, areas=written(out / f"{name}.geojson", *areas[name]))
        given.to_netcdf(out / name / NETCDF, engine="netcdf4")
    given, _ = made(ON_DEGREES, members=MEMBERS, areas=out / "degrees.geojson")  # the same anew
    given.to_zarr(out / "degrees" / ZARR, zarr_format=2, consolidated=True)
    write_tables(given, out / "degrees" / AREAS_CSV, out / "degrees" / AREAS_JSON)
    write_cogs(given, out / "degrees" / COGS)
    return {name: out / name for name in areas}


@pytest.fixture(scope="module")
def dataset(folders: dict[str, Path]) -> xr.Dataset:
    with xr.open_dataset(folders["degrees"] / NETCDF, decode_timedelta=False) as opened:
        return opened.load()


@pytest.fixture(scope="module")
def amounts() -> np.ndarray:
    """Amounts of five members over half an hour, mm, by the trapezoid rule: (5, 2, H, W)."""
    rain = np.stack([frame.rain_rate for frame in ON_DEGREES])[-3:]
    given = probabilistic(RATES).forecaster.distribution(rain, 12, RATES)  # type: ignore[attr-defined]
    seed = 3 + int(np.datetime64("2024-06-01T23:55:00", "s").astype(int))
    drawn = np.stack(list(draw_members(given.exceedance, RATES, rain, count=5, seed=seed)))
    before = np.concatenate([np.broadcast_to(rain[-1], (5, 1, *SHAPE)), drawn[:, :-1]], axis=1)
    return ((before + drawn) / 2 / 12).reshape(5, 2, 6, *SHAPE).sum(axis=2)


def test_percentiles_and_shares_of_members_are_those_of_numpy() -> None:
    members = np.random.default_rng(1).gamma(1.0, 2.0, (24, 2, 3, 4)).astype(np.float32)
    members[:, 0, 1, 2] = np.nan
    percentiles, shares = statistics(members, [0.5, 4.0])
    np.testing.assert_allclose(percentiles, np.quantile(members, [0.1, 0.5, 0.9], axis=0, method="hazen"), rtol=1e-5)
    assert np.isnan(shares[:, 0, 1, 2]).all() and np.isnan(shares).sum() == 2
    assert shares[1, 1, 0, 0] == pytest.approx((members[:, 1, 0, 0] >= 4).sum() / 24)


def test_amounts_of_members_have_percentiles_and_probabilities(dataset: xr.Dataset, amounts: np.ndarray) -> None:
    shares = dataset["rainfall_amount_30min_exceedance_probability"]
    assert shares.dims == ("period_30min", "amount_threshold", "y", "x") and shares.attrs["members"] == 5
    assert (shares.attrs["units"], "standard_name" in shares.attrs) == ("1", False)
    threshold = dataset["amount_threshold"]
    assert (threshold.attrs["standard_name"], threshold.to_numpy().tolist()) == ("rainfall_amount", AMOUNTS)
    unknown = np.isnan(amounts).any(axis=0)
    for number, one in enumerate(AMOUNTS):
        wanted = np.where(unknown, np.nan, (amounts >= one).mean(axis=0))
        np.testing.assert_allclose(shares[:, number], wanted, atol=0.002)
        assert 0 < np.nanmean(wanted) < 1
    percentiles = dataset["rainfall_amount_30min_percentile"]
    assert dataset["percentile"].to_numpy().tolist() == [10, 50, 90] and percentiles.attrs["units"] == "kg m-2"
    wanted = np.quantile(amounts, [0.1, 0.5, 0.9], axis=0, method="hazen").swapaxes(0, 1)
    np.testing.assert_allclose(percentiles, wanted, atol=0.006)
    hour = np.quantile(amounts.sum(axis=1), 0.9, axis=0, method="hazen")
    np.testing.assert_allclose(dataset["rainfall_amount_60min_percentile"][0, 2], hour, atol=0.006)


def test_percentiles_of_rain_rate_are_the_distributions(dataset: xr.Dataset) -> None:
    """Of a rate that is reached with 0.75 the median is that, or more; of one with 0.25 it is less, and 0 if dry."""
    shares = dataset["rainfall_flux_exceedance_probability"]
    low, middle, high = dataset["rainfall_flux_percentile"].transpose("percentile", ...).to_numpy()
    for number, rate in enumerate(RATES):
        p = shares[:, number].to_numpy()
        assert (middle[p > 0.6] >= rate - 0.005).all() and (middle[p < 0.4] <= rate + 0.005).all()
        assert (low[p < 0.85] <= rate + 0.005).all() and (high[p > 0.2] >= rate - 0.005).all()
    assert (middle > 0).mean() > 0.01 and (np.isnan(middle) == np.isnan(shares[:, 0])).all()


def test_areas_are_told_of_in_the_dataset_and_in_tables(
    folders: dict[str, Path], dataset: xr.Dataset, amounts: np.ndarray
) -> None:
    of_area = amounts[:, :, 10:20, 20:40].mean(axis=(2, 3))
    assert dataset["region_name"].to_numpy().tolist() == ["Zürich", "=1+1"]
    issued = dataset["rainfall_amount_30min"][:, 10:20, 20:40].mean(("y", "x"))
    np.testing.assert_allclose(dataset["region_rainfall_amount_30min"][:, 0], issued, rtol=1e-4)
    p90 = np.quantile(of_area, 0.9, axis=0, method="hazen")
    np.testing.assert_allclose(dataset["region_rainfall_amount_30min_percentile"][:, 2, 0], p90, rtol=1e-4)
    document = json.loads((folders["degrees"] / AREAS_JSON).read_text())
    assert (document["forecast_reference_time"], document["left_out"]) == ("2024-06-01T23:55:00Z", "none")
    assert len(document["areas"]) == 2 * (12 + 2 + 1)
    first = next(row for row in document["areas"] if row["quantity"] == "rainfall_amount_30min")
    assert (first["area"], first["units"], first["valid_time"]) == ("Zürich", "mm", "2024-06-02T00:25:00Z")
    assert (first["members"], first["mean"]) == (5, pytest.approx(issued[0].item(), abs=6e-4))
    assert first["percentiles"][2] == {"percentile": 90.0, "value": pytest.approx(p90[0], abs=6e-4)}
    share = float((of_area[0] >= 0.5).mean())
    words = {0: "fewer than 1 of 20", 1: "2 of 10", 2: "4 of 10", 3: "6 of 10", 4: "8 of 10", 5: "more than 19 of 20"}
    said = {"at_least": 0.5, "value": pytest.approx(share), "words": f"in {words[round(5 * share)]} such forecasts"}
    assert first["probabilities"][0] == said
    with (folders["degrees"] / AREAS_CSV).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    row = next(row for row in rows if row["quantity"] == "rainfall_amount_30min")
    assert float(row["percentile_90"]) == first["percentiles"][2]["value"] and row["members"] == "5"
    assert (float(row["at_least_0.5"]), row["at_least_0.1"]) == (pytest.approx(share), "")
    assert {row["area"] for row in rows} == {"Zürich", "'=1+1"}


def test_the_cf_checker_has_nothing_to_say_of_members(folders: dict[str, Path]) -> None:
    command = [Path(sys.executable).with_name("compliance-checker"), "--test", "cf:1.11", "--criteria", "strict"]
    command += ["--skip-checks", "check_packed_data"]  # see test_dataset.py
    done = subprocess.run(
        [*command, *(folder / NETCDF for folder in folders.values())], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.count("All tests passed!") == 2, done.stdout


def test_xarray_and_gdal_read_all_of_it(folders: dict[str, Path], dataset: xr.Dataset) -> None:
    folder, names = folders["degrees"], [str(name) for name in dataset.data_vars]
    with xr.open_zarr(folder / ZARR, decode_timedelta=False) as zarr:
        for name in [*names, "region_name"]:
            given, wanted = zarr[name].to_numpy(), dataset[name].to_numpy()
            np.testing.assert_array_equal(given.astype(wanted.dtype), wanted)
    number = dataset["rainfall_flux_member"].get_index("realization")
    assert number.tolist() == [0, 1, 2, 3, 4] and dataset["realization"].attrs["standard_name"] == "realization"
    maps = [name for name in names if dataset[name].dims[-1:] == ("x",)]
    assert len(maps) == 1 + 2 + 1 + 3 + 2 + 1
    for name in maps:
        wanted = dataset[name].to_numpy().reshape(-1, *SHAPE)
        for address in (f"netcdf:{folder / NETCDF}:{name}", f'ZARR:"{folder / ZARR}":/{name}'):
            with rasterio.open(address) as file:
                given = np.where(file.read() == file.nodata, np.nan, file.read() * file.scales[0])
            np.testing.assert_allclose(given, wanted, rtol=1e-5)
    with rasterio.open(folder / COGS / "rainfall_amount_60min_percentile_20240602T005500Z.tif") as file:
        given = np.where(file.read() == file.nodata, np.nan, file.read() * file.scales[0])
        np.testing.assert_allclose(given, dataset["rainfall_amount_60min_percentile"][0], rtol=1e-5)
        assert [text.split(": ")[1] for text in file.descriptions] == [
            "percentile 10 %",
            "percentile 50 %",
            "percentile 90 %",
        ]
        assert file.tags()["members"] == "5"
    assert not list((folder / COGS).glob("*member*"))


class InTiles(Mixture):
    """A mixture whose probabilities come plane by plane, as those of a continent."""

    def distribution(self, rain_rate: np.ndarray, leads: int, rates: Sequence[float]) -> Distribution:
        given = super().distribution(rain_rate, leads, rates)
        return given._replace(exceedance=dask.array.from_array(given.exceedance, (1, 1, *SHAPE)))


def test_probabilities_in_tiles_make_the_same_products(folders: dict[str, Path], tmp_path: Path) -> None:
    in_tiles = replace(probabilistic(RATES), forecaster=InTiles())
    given, _ = made(ON_DEGREES, in_tiles, members=MEMBERS, areas=folders["degrees"].with_suffix(".geojson"))
    write_cogs(given, tmp_path)
    draw_probabilities(given, PROBABILITY, tmp_path / "probabilities.png")
    given.to_netcdf(tmp_path / NETCDF, engine="netcdf4")
    with xr.open_dataset(tmp_path / NETCDF) as tiled, xr.open_dataset(folders["degrees"] / NETCDF) as whole:
        xr.testing.assert_equal(tiled.load(), whole.load())
    for path in (folders["degrees"] / COGS).iterdir():
        with rasterio.open(path) as one, rasterio.open(tmp_path / path.name) as other:
            np.testing.assert_array_equal(one.read(), other.read())


def test_what_is_not_asked_for_is_not_there() -> None:
    members = made(FRAMES, members=MEMBERS.model_copy(update={"keep": False}))[0]
    assert "realization" not in members.dims and "region" not in members.dims
    assert "rainfall_amount_30min_percentile" in members
    assert not {"amount_threshold", "region"} & {*map(str, made(FRAMES)[0].dims)}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"areas": Path("nowhere")}, "areas: nowhere: No such file or directory"),
        ({"members": MEMBERS, "model": loaded("persistence")}, "members: persistence gives no probabilities"),
        ({"members": MEMBERS, "memory_limit_mb": 30,
          "model": replace(probabilistic(RATES), bytes_a_pixel={"members": 20_000.0})},
         r"members: they need 40 MB on 40×50 pixels, and 30 are allowed"),
    ],
)  # fmt: skip
def test_what_can_not_be_made_is_a_line_and_the_rest_is_there(asked: dict[str, Any], words: str) -> None:
    given, _ = made(FRAMES, **asked)
    (line,) = ForecastAttributes.model_validate(given.attrs).left_out
    assert line in ForecastAttributes.model_validate(given.attrs).warnings
    assert re.fullmatch(words, line)
    assert given["rainfall_flux"].shape == (12, *SHAPE) and given.attrs["fallback"] == "none"


def test_members_that_take_too_long_are_as_many_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a second each time that it is looked at: after every lead time."""
    forecast_, _ = made(FRAMES)
    field, drawn = np.ones(SHAPE, np.float32), []

    def gathered(max_seconds: float) -> Ensemble:
        clock = count()
        monkeypatch.setattr("pipelines.operation.products.ensemble.monotonic", lambda: next(clock))
        members = ((drawn.append((member, lead)) or field for lead in range(12)) for member in range(9))  # type: ignore[func-returns-value]
        asked = Members(count=9, max_seconds=max_seconds)
        return gather(members, forecast_, FRAMES[-1], 300, [], asked)

    # Two members are there after 24 s, and seven lead times of the third after 31.
    assert gathered(30).members == 2
    assert drawn[-1] == (2, 6), "no more was drawn than was used"
    assert gathered(23).members == 2, "one that is whole counts, if only just too late"
    with pytest.raises(UserError, match=r"^0 in 5 s, and 2 at least are wanted$"):
        gathered(5)
