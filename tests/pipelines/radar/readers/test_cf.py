"""What CF allows and users write: axes in any order and unit, words spelled otherwise, forecasts among observations."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from radar_files import (
    LAEA,
    cf_dataset,
    edited,
    lonlat,
    write_bom,
)
from refused import refused_frame

from pipelines.common.errors import UnreadableFile
from pipelines.common.rights import Rights
from pipelines.params.radar import SILENT, FileHints
from pipelines.radar.readers.georeference import even_axis
from pipelines.radar.readers.read import radar_files, read_frame, read_headers
from pipelines.radar.store import frames_dataset

TIME = datetime(2021, 2, 28, 23, 55)
Z_R = (200.0, 1.6)
RAW = np.arange(1, 193, dtype=np.uint8).reshape(12, 16)
KM = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040 +units=km +no_defs"


def projected(*, mapping: dict, unit: str = "m", step: float = 1000.0, left: float = 500.0, **attributes) -> xr.Dataset:
    """3 mm/h in row 1, column 4 of 6 by 8 pixels, row 0 north at y = -step / 2, column 0 at ``left``."""
    rain = np.zeros((1, 6, 8), np.float32)
    rain[0, 1, 4] = 3
    said = {"standard_name": "rainfall_rate", "units": "mm h-1", "grid_mapping": "crs"} | attributes
    y, x = {"units": unit, "standard_name": "projection_y_coordinate"}, {"units": unit, "axis": "X"}
    return xr.Dataset(
        {"rr": (("time", "y", "x"), rain, said), "crs": ((), 0, mapping)},
        {
            "time": ("time", [np.datetime64(TIME, "ns")], {"standard_name": "time"}),
            "y": ("y", -step * (np.arange(6) + 0.5), y),
            "x": ("x", left + step * np.arange(8), x),
        },
        {"Conventions": "CF-1.11"},
    )


def wet_place(path: Path, hints: FileHints = SILENT) -> tuple[float, float]:
    """Longitude and latitude of the one wet pixel, whose grid must be on earth."""
    frame = read_frame(path, Z_R, hints=hints)
    ((row, column),) = np.argwhere(frame.rain_rate > 0)
    assert frame.rain_rate[row, column] == pytest.approx(3)
    lon, lat = frame.grid.lonlat()
    assert np.isfinite(lon).all()
    assert np.isfinite(lat).all()
    return lon[row, column], lat[row, column]


def written(dataset: xr.Dataset, folder: Path) -> Path:
    dataset.to_netcdf(folder / "a.nc")
    return folder / "a.nc"


def refused(path: Path, hints: FileHints = SILENT) -> str:
    with pytest.raises(UnreadableFile) as error:
        read_headers(path, hints)
    return error.value.reason


@pytest.mark.parametrize("dims", [("time", "x", "y"), ("y", "x", "time"), ("x", "time", "y")])
@pytest.mark.parametrize("flip", [(), ("y",), ("x", "y")])
def test_axes_in_any_order_and_direction(tmp_path, dims, flip):
    dataset = projected(mapping=pyproj.CRS(LAEA).to_cf()).transpose(*dims)
    path = written(dataset.isel({name: slice(None, None, -1) for name in flip}), tmp_path)
    assert wet_place(path) == pytest.approx(lonlat(LAEA, 4500.0, -1500.0), abs=1e-6)
    assert read_frame(path, Z_R).rain_rate.shape == (6, 8)


def test_axes_by_their_standard_names_not_their_own(tmp_path):
    """A file whose x is called y, in projected as in geographic grids."""
    dataset = projected(mapping=pyproj.CRS(LAEA).to_cf()).rename(x="z").rename(y="x").rename(z="y")
    assert wet_place(written(dataset, tmp_path)) == pytest.approx(lonlat(LAEA, 4500.0, -1500.0), abs=1e-6)
    geographic = cf_dataset(1).rename(lat="z").rename(lon="lat").rename(z="lon")
    frame = read_frame(written(geographic, tmp_path), Z_R)
    assert (frame.grid.x[0], frame.grid.y[0]) == pytest.approx((5.0, 40.11))
    assert frame.rain_rate[0, 3] == 11 * 16 + 3


def test_axes_that_contradict_themselves(tmp_path):
    dataset = projected(mapping=pyproj.CRS(LAEA).to_cf())
    dataset["y"].attrs["axis"] = "X"
    assert "y's standard_name is projection_y_coordinate, and its axis X" in refused(written(dataset, tmp_path))


@pytest.mark.parametrize(
    ("unit", "metres"), [("km", 1000.0), ("kilometers", 1000.0), ("US_survey_foot", 1200 / 3937), ("100 m", 100.0)]
)
@pytest.mark.parametrize("mapping", ["parameters", "wkt", "wkt in its own unit"])
def test_axes_in_any_unit_of_length(tmp_path, unit, metres, mapping):
    """False eastings among CF's parameters are in the axes' unit; those of a WKT in its own."""
    crs = pyproj.CRS(LAEA.replace("+x_0=0", "+x_0=20000"))
    attributes = {"crs_wkt": crs.to_wkt()}
    if mapping == "parameters":
        attributes = {name: value for name, value in crs.to_cf().items() if name != "crs_wkt"}
        attributes["false_easting"] = 20000 / metres
    elif mapping == "wkt in its own unit":
        attributes = {"crs_wkt": pyproj.CRS(LAEA.replace("+units=m", "+units=km")).to_wkt()}
    shift = 0.0 if mapping == "wkt in its own unit" else 20000.0
    dataset = projected(mapping=attributes, unit=unit, step=1000 / metres, left=(500 + shift) / metres)
    place = wet_place(written(dataset, tmp_path))
    assert place == pytest.approx(lonlat(LAEA, 4500.0, -1500.0), abs=1e-5)
    grid = read_frame(tmp_path / "a.nc", Z_R).grid
    assert grid.crs.axis_info[0].unit_name == "metre"
    assert grid.spacing == pytest.approx((1000, 1000))


def test_a_rotated_pole_and_a_satellites_view(tmp_path):
    pole = {"grid_north_pole_latitude": 39.25, "grid_north_pole_longitude": -162.0}
    dataset = projected(
        mapping={"grid_mapping_name": "rotated_latitude_longitude"} | pole, unit="degrees", step=0.02, left=-0.5
    )
    dataset["y"].attrs["standard_name"], dataset["x"].attrs["standard_name"] = "grid_latitude", "grid_longitude"
    to_lonlat = pyproj.Transformer.from_crs(
        "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18", "+proj=longlat", always_xy=True
    )
    assert wet_place(written(dataset, tmp_path)) == pytest.approx(to_lonlat.transform(-0.42, -0.03), abs=1e-6)
    # What is stored of it is read as the same again.
    frame = read_frame(tmp_path / "a.nc", Z_R)
    frames_dataset([frame], Rights("CC0-1.0")).to_zarr(tmp_path / "store.zarr", consolidated=False)
    assert wet_place(tmp_path / "store.zarr") == pytest.approx(to_lonlat.transform(-0.42, -0.03), abs=1e-6)
    with xr.open_zarr(tmp_path / "store.zarr", consolidated=False) as stored:
        assert stored["x"].attrs["standard_name"] == "grid_longitude"
    geos = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84"
    cf = {name: value for name, value in pyproj.CRS(geos).to_cf().items() if name != "crs_wkt"}
    dataset = projected(mapping=cf, unit="microradian", step=100.0, left=1000.0)
    x, y = 35785831 * 1400e-6, 35785831 * -150e-6
    assert wet_place(written(dataset, tmp_path)) == pytest.approx(lonlat(geos, x, y), abs=1e-6)


@pytest.mark.parametrize(
    "mapping",
    [
        {"epsg_code": "EPSG:3035"},
        {"EPSG": np.int32(3035)},
        {"epsg_code": 3035.0},
        {"proj4": pyproj.CRS("EPSG:3035").to_proj4()},
        {"spatial_ref": pyproj.CRS("EPSG:3035").to_wkt("WKT1_GDAL")},
        {
            "grid_mapping_name": "Lambert_Azimuthal_Equal_Area",
            "latitude_of_projection_origin": "52.0",
            "longitude_of_projection_origin": "10",
            "false_easting": "4321000",
            "false_northing": 3210000,
            "semi_major_axis": "6378137.0",
            "inverse_flattening": "298.257222101",
        },
    ],
)
@pytest.mark.parametrize("named", ["crs", "crs: x y", "other: lat lon crs: x y", "other: lat lon crs: y x", None])
def test_grid_mappings(tmp_path, mapping, named):
    dataset = projected(mapping=mapping)
    del dataset["rr"].attrs["grid_mapping"]
    if named is not None:
        dataset["rr"].attrs["grid_mapping"] = named
        dataset["other"] = (), 0, {"grid_mapping_name": "latitude_longitude"}
    expected = pyproj.Transformer.from_crs("EPSG:3035", "EPSG:4326", always_xy=True).transform(4500.0, -1500.0)
    assert wet_place(written(dataset, tmp_path)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "mapping",
    [
        {"proj4": LAEA.replace("+ellps=WGS84", "+a=6378.137 +rf=298.257223563")},
        {"proj4_params": LAEA.replace("+ellps=WGS84", "+a=6378.137 +rf=298.257223563").replace("units=m", "units=km")},
        {
            "grid_mapping_name": "lambert_azimuthal_equal_area",
            "latitude_of_projection_origin": 55.0,
            "longitude_of_projection_origin": 10.0,
            "semi_major_axis": 6378.137,
            "inverse_flattening": 298.257223563,
        },
    ],
)
def test_an_earth_in_kilometres(tmp_path, mapping):
    path = written(projected(mapping=mapping, unit="km", step=1.0, left=0.5), tmp_path)
    assert wet_place(path) == pytest.approx(lonlat(LAEA, 4500.0, -1500.0), abs=1e-6)
    assert read_frame(path, Z_R).grid.spacing == pytest.approx((1000, 1000))


@pytest.mark.parametrize(
    ("name", "proj"),
    [
        ("lambert_conformal_conic", "+proj=lcc +lat_1=50 +lat_2=50 +lat_0=47 +lon_0=9"),
        ("albers_conical_equal_area", "+proj=aea +lat_1=50 +lat_2=50 +lat_0=47 +lon_0=9"),
    ],
)
def test_a_cone_of_one_standard_parallel(tmp_path, name, proj):
    """The origin is elsewhere than the parallel: 333 km."""
    mapping = {"grid_mapping_name": name, "standard_parallel": 50.0, "latitude_of_projection_origin": 47.0}
    mapping["longitude_of_central_meridian"] = 9.0
    path = written(projected(mapping=mapping), tmp_path)
    assert wet_place(path) == pytest.approx(lonlat(proj, 4500.0, -1500.0), abs=1e-6)
    del mapping["latitude_of_projection_origin"]
    without = f"a grid_mapping {name} without latitude_of_projection_origin"
    assert refused(written(projected(mapping=mapping), tmp_path)) == without


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("reference_ellipsoid_name", 5, "no projection that PROJ knows"),
        ("false_easting", "east", "false_easting is 'east', not numbers"),
        ("standard_parallel", "", "standard_parallel is '', not numbers"),
        ("latitude_of_projection_origin", np.nan, "latitude_of_projection_origin is nan, not numbers"),
        ("grid_mapping_name", [1.0, 2.0], "no projection that PROJ knows: .*1.0, 2.0"),
        ("crs_wkt", 5, "no projection that PROJ knows: '5'"),
        ("proj4", "+proj=stere +R=1737400", "its earth has a radius of 1737.4 km"),
    ],
)
def test_an_odd_grid_mapping_is_refused_in_words(tmp_path, name, value, reason):
    mapping = {"grid_mapping_name": "lambert_azimuthal_equal_area", "longitude_of_projection_origin": 10.0}
    mapping["latitude_of_projection_origin"] = 55.0
    if name == "proj4":
        mapping = {}
    assert re.search(reason, refused(written(projected(mapping=mapping | {name: value}), tmp_path)))


def test_kilometres_taken_for_metres_land_nowhere(tmp_path):
    """The plane of a stereographic projection has no end: such a grid is within a degree of the other pole."""
    mapping = pyproj.CRS(KM.replace("units=km", "units=m")).to_cf()
    assert "its grid isn't on earth" in refused(written(projected(mapping=mapping, step=1e6, left=1e9), tmp_path))
    dataset = cf_dataset(1)
    dataset = dataset.assign_coords(lon=("lon", 1000 * dataset["lon"].values, dataset["lon"].attrs))
    assert "its grid isn't on earth" in refused(written(dataset, tmp_path))


def test_the_user_says_the_projection(tmp_path):
    dataset = projected(mapping={"long_name": "nothing"})
    assert "has the grid_mapping" not in refused(written(dataset, tmp_path))
    dataset = dataset.drop_vars("crs")
    del dataset["rr"].attrs["grid_mapping"]
    path = written(dataset, tmp_path)
    assert "no `crs`" not in refused(path, FileHints(crs="nowhere"))
    assert "params.yaml no `crs`" in refused(path)
    assert wet_place(path, FileHints(crs=LAEA)) == pytest.approx(lonlat(LAEA, 4500.0, -1500.0), abs=1e-6)


@pytest.mark.parametrize(
    ("units", "standard_name", "factor"),
    [
        ("mm hr-1", "rainfall_rate", 1),
        ("mm/hour", "rainfall_rate", 1),
        ("mm h^-1", "lwe_precipitation_rate", 1),
        ("kg m**-2 s**-1", "precipitation_flux", 3600),
        ("kg/m2/s", "precipitation_flux", 3600),
        ("mm/day", "rainfall_rate", 1 / 24),
        ("0.1 mm/h", "rainfall_rate", 0.1),
        ("inch/hour", "rainfall_rate", 25.4),
        ("mm·h⁻¹", "rainfall_rate", 1),
    ],
)
def test_units_by_the_rules_of_udunits(tmp_path, units, standard_name, factor):
    dataset = projected(mapping={"epsg_code": "EPSG:3035"}, units=units, standard_name=standard_name)
    path = written(dataset, tmp_path)
    assert read_frame(path, Z_R).rain_rate.max() == pytest.approx(3 * factor, rel=1e-6)


def test_a_unit_that_is_not_of_the_quantity(tmp_path):
    path = written(projected(mapping={"epsg_code": "EPSG:3035"}, units="mm"), tmp_path)
    assert "rr is in mm, and rainfall_rate can't be" in refused(path)


def test_other_dimensions_have_one_value(tmp_path):
    dataset = projected(mapping=pyproj.CRS(LAEA).to_cf())
    level = dataset.copy()
    level["rr"] = dataset["rr"].expand_dims(height=[500.0], realization=[1], axis=(1, 0))
    assert wet_place(written(level, tmp_path)) == pytest.approx(lonlat(LAEA, 4500.0, -1500.0), abs=1e-6)
    level["rr"] = dataset["rr"].expand_dims(member=[1, 2, 3])
    assert "3 member" in refused(written(level, tmp_path))


def test_an_axis_without_a_unit_is_named(tmp_path):
    dataset = projected(mapping=pyproj.CRS(LAEA).to_cf())
    del dataset["y"].attrs["units"]
    assert refused(written(dataset, tmp_path)) == "axis y: unit '', neither a length nor an angle"


@pytest.mark.parametrize("conventions", [None, "COARDS", "CF 1.6"])
def test_netcdf_that_says_what_a_variable_is_needs_no_conventions(tmp_path, conventions):
    dataset = projected(mapping=pyproj.CRS(LAEA).to_cf())
    dataset.attrs = {} if conventions is None else {"Conventions": conventions}
    assert wet_place(written(dataset, tmp_path)) == pytest.approx(lonlat(LAEA, 4500.0, -1500.0), abs=1e-6)


def test_of_two_variables_of_one_quantity_the_user_chooses(tmp_path):
    dataset = projected(mapping=pyproj.CRS(LAEA).to_cf())
    dataset["second"] = dataset["rr"].copy()
    path = written(dataset, tmp_path)
    assert refused(path) == "rr, second are each rainfall_rate, and params.yaml names no `variable`"
    wet_place(path, FileHints(variable="rr"))


def test_a_threshold_of_probabilities_is_no_rain(tmp_path):
    dataset = projected(mapping=pyproj.CRS(LAEA).to_cf())
    threshold = ("threshold", [5.0, 10.0], {"standard_name": "rainfall_amount", "units": "mm"})
    dataset["probability"] = dataset["rr"].expand_dims(threshold=2).astype(np.float32)
    dataset["probability"].attrs = {"units": "1", "grid_mapping": "crs"}
    dataset = dataset.assign_coords(threshold=threshold)
    assert wet_place(written(dataset, tmp_path)) == pytest.approx(lonlat(LAEA, 4500.0, -1500.0), abs=1e-6)
    assert refused(written(dataset.drop_vars("rr"), tmp_path)).startswith("no variable whose standard_name")


def test_a_variable_by_the_users_word(tmp_path):
    dataset = projected(mapping=pyproj.CRS(LAEA).to_cf())
    dataset["other"] = dataset["rr"] * 2
    dataset["other"].attrs = {"grid_mapping": "crs"}
    path = written(dataset, tmp_path)
    assert "no unit in the file" in refused(path, FileHints(variable="other"))
    assert "no variable third, which params.yaml names" in refused(path, FileHints(variable="third"))
    hints = FileHints(variable="other", unit="mm", interval_s=600, time_is="start")
    frame = read_frame(path, Z_R, hints=hints)
    assert frame.rain_rate.max() == 36
    assert (frame.time_is, frame.interval_s) == ("start", 600)
    assert "unit: params.yaml says mm, and the file mm h-1" in refused(path, FileHints(unit="mm"))


@settings(max_examples=60)
@given(
    st.floats(-400, 400), st.floats(1e-3, 1), st.integers(2, 800), st.booleans(), st.sampled_from(["f4", "decimals"])
)
def test_even_axes_of_few_digits(first, step, size, falls, written_as):
    """An axis in 32 bits or rounded decimals is the even one that was meant, where that can be told."""
    exact = (first + step * np.arange(size))[:: -1 if falls else 1]
    rounded = exact.astype(np.float32).astype(float) if written_as == "f4" else np.round(exact, 4)
    off = np.abs(rounded - exact).max() / step
    if off < 0.01:
        axis = even_axis(rounded, "x")
        assert np.ptp(np.diff(axis)) < 1e-3 * step
        assert np.abs(axis - exact).max() < 0.03 * step


@pytest.mark.parametrize("axis", [np.arange(10.0) ** 1.1, [0.0, 1.0, 3.0, 4.0], [0.0, 1.0, 2.0, 1.5], [1.0, 1.0]])
def test_axes_that_are_not_even(axis):
    with pytest.raises(ValueError, match="not evenly spaced"):
        even_axis(np.array(axis), "x")


@pytest.mark.parametrize("start", [359.97, -0.03, 179.95, 359.0, 200.0])
def test_longitudes_around_the_earth(tmp_path, start):
    dataset = cf_dataset(1)
    lon = start + 0.01 * np.arange(16)
    lon = np.where(lon >= 360, lon - 360, np.where((lon > 180) & (start < 180), lon - 360, lon))
    dataset = dataset.assign_coords(lon=("lon", lon, dataset["lon"].attrs))
    grid = read_frame(written(dataset, tmp_path), Z_R).grid
    turns = (grid.x - (start + 0.01 * np.arange(16))) / 360
    np.testing.assert_allclose(turns, np.rint(turns[0]), atol=1e-9)


@pytest.mark.parametrize(
    ("units", "time"),
    [
        ("seconds since 2021-02-28 23:55:00", "23:55:00"),
        ("minutes since 2021-02-28T23:55Z", "23:55:00"),
        ("days since 2021-02-28 23:55:00 UTC", "23:55:00"),
        ("hours since 2021-02-28 23:55 +02:00", "21:55:00"),
        ("hours since 2021-02-28 23:55 +2:00", "21:55:00"),
        ("hours since 2021-02-28 18:25:00 -0530", "23:55:00"),
        ("s since 2021-2-28 22:55:00.0 -01", "23:55:00"),
    ],
)
def test_clocks_with_an_offset(tmp_path, units, time):
    dataset = cf_dataset(1).assign_coords(time=("time", [0], {"units": units, "axis": "T"}))
    (header,), _ = read_headers(written(dataset, tmp_path))
    assert header.time == np.datetime64(f"2021-02-28T{time}")


@pytest.mark.parametrize(
    "attributes",
    [
        {"units": "seconds since 2021-02-28 23:55 CET"},
        {"units": "seconds since yesterday"},
        {"units": "metres since 2021-02-28"},
        {"units": "months since 2021-02-28"},
        {"units": "days since 2021-02-28", "calendar": "noleap"},
    ],
)
def test_clocks_that_are_not_understood(tmp_path, attributes):
    dataset = cf_dataset(1).assign_coords(time=("time", [0], {"standard_name": "time"} | attributes))
    assert attributes["units"].split()[0] in refused(written(dataset, tmp_path))


@pytest.mark.parametrize(
    ("calendar", "units", "hours", "time"),
    [
        # Before Gregory's calendar was Julius Caesar's, whose year 1 began two days earlier. Days by date.toordinal.
        ("proleptic_gregorian", "hours since 0001-01-01", 737_848 * 24, "2021-02-28T00:00:00"),
        ("standard", "hours since 0001-01-01", 737_850 * 24, "2021-02-28T00:00:00"),
        ("Gregorian", "hours since 1582-10-04", 24, "1582-10-15T00:00:00"),
        ("standard", "hours since 1582-10-15", 24, "1582-10-16T00:00:00"),
    ],
)
def test_calendars(tmp_path, calendar, units, hours, time):
    clock = {"units": units, "axis": "T", "calendar": calendar}
    dataset = cf_dataset(1).assign_coords(time=("time", [hours], clock))
    (header,), _ = read_headers(written(dataset, tmp_path))
    assert header.time == np.datetime64(time)


@pytest.mark.parametrize(
    ("units", "seconds", "reason"),
    [
        ("days since 2021-01-01", 86400, None),  # exact to a third of a second
        ("days since 2020-01-01", 86400, None),  # to 2.6 s
        ("hours since 2011-01-01", 3600, None),  # to 28 s: it is 9 s before the minute
        ("hours since 2000-01-01", 3600, "time is exact to 56 s alone, in 32 bits"),
        ("days since 1970-01-01", 86400, "time is exact to 169 s alone, in 32 bits"),
    ],
)
def test_clocks_in_32_bits(tmp_path, units, seconds, reason):
    clock = (np.datetime64(TIME) - np.datetime64(units[-10:])) / np.timedelta64(seconds, "s")
    dataset = cf_dataset(1).assign_coords(time=("time", np.float32([clock]), {"units": units, "axis": "T"}))
    path = written(dataset, tmp_path)
    if reason is None:
        assert read_headers(path)[0][0].time == np.datetime64(TIME)
    else:
        assert reason in refused(path)


def forecasts(kind: str) -> xr.Dataset:
    """Steps of 0, 5 and 10 minutes, said in one of the ways in which producers say it."""
    dataset = cf_dataset(3)
    minutes = np.array([0, 5, 10])
    issued = {"standard_name": "forecast_reference_time", "units": "seconds since 2021-02-28 23:55:00"}
    period = {"standard_name": "forecast_period", "units": "minutes"}
    if kind == "period beside the time":
        return dataset.assign_coords(forecast_period=("time", minutes, period))
    if kind == "reference time beside the time":
        return dataset.assign_coords(reference=((), 0, issued))
    if kind == "reference time and lead time":
        dataset = dataset.rename(time="lead").drop_vars("lead")
        return dataset.assign_coords(lead=("lead", minutes, period), reference=((), 0, issued))
    if kind == "a dimension called lead_time":
        dataset = dataset.rename(time="lead_time").drop_vars("lead_time")
        return dataset.assign_coords(lead_time=("lead_time", minutes * 60.0, {"units": "s"}), time=((), issued_time()))
    if kind == "cfgrib":  # time is the reference, as in files of ECMWF
        dataset = dataset.rename(time="step").drop_vars("step")
        step = {"standard_name": "forecast_period", "units": "hours"}
        return dataset.assign_coords(step=("step", minutes / 60, step), time=((), 0, issued))
    clock = {"units": "seconds since 2021-02-28 23:55:00", "long_name": "forecast time"}
    return dataset.assign_coords(time=("time", minutes * 60, clock))  # pysteps


def issued_time() -> np.datetime64:
    return np.datetime64(TIME, "ns")


@pytest.mark.parametrize(
    "kind",
    [
        "period beside the time",
        "reference time beside the time",
        "reference time and lead time",
        "cfgrib",
        "pysteps",
    ],
)
def test_a_forecast_is_no_observation(tmp_path, kind):
    headers, _ = read_headers(written(forecasts(kind), tmp_path))
    assert [header.time for header in headers] == [np.datetime64(TIME + timedelta(minutes=m)) for m in (0, 5, 10)]
    assert headers[0].refusal is None
    assert headers[1].refusal == "a nowcast of 23:55 for 00:00 UTC, 2021-03-01"
    assert headers[2].refusal == "a nowcast of 23:55 for 00:05 UTC, 2021-03-01"
    path = written(forecasts(kind).isel({read_dims(kind): [2]}), tmp_path)
    with pytest.raises(UnreadableFile, match="a nowcast of 23:55 for 00:05"):
        read_frame(path, Z_R)


def read_dims(kind: str) -> str:
    return {"reference time and lead time": "lead", "cfgrib": "step"}.get(kind, "time")


def test_lead_times_of_one_time_are_forecasts(tmp_path):
    headers, _ = read_headers(written(forecasts("a dimension called lead_time"), tmp_path))
    assert [header.refusal is None for header in headers] == [True, False, False]
    assert headers[2].refusal == "a nowcast of 23:55 for 00:05 UTC, 2021-03-01"


def test_a_lead_time_counts_where_the_name_has_the_time(tmp_path):
    period = {"standard_name": "forecast_period", "units": "minutes"}
    dataset = cf_dataset(1).isel(time=0).drop_vars("time").assign_coords(lead=((), 15, period))
    dataset.to_netcdf(tmp_path / "rain_202102282355.nc")
    with pytest.raises(UnreadableFile, match="a nowcast of 23:40 for 23:55"):
        read_frame(tmp_path / "rain_202102282355.nc", Z_R)


@pytest.mark.parametrize(
    "coordinates",
    [
        {"issue_time": (0, "minutes since 2021-02-28 23:10")},
        {"model_initialisation_time": (10, "minutes since 2021-02-28 23:00")},
        {"forecast_reference_time": ("2021-02-28T23:10:00Z", None)},
        {"lead_minutes": (45, "minutes")},
        {"fcst_lead": (0.75, "h")},
    ],
)
def test_forecasts_by_the_names_of_coordinates(tmp_path, coordinates):
    dataset = cf_dataset(1)
    for name, (value, units) in coordinates.items():
        dataset[name] = (), value, {"units": units} if units else {}
    (header,), _ = read_headers(written(dataset, tmp_path))
    assert header.refusal == "a nowcast of 23:10 for 23:55 UTC, 2021-02-28"


@pytest.mark.parametrize("of", ["file", "variable"])
@pytest.mark.parametrize(
    ("attributes", "refusal"),
    [
        ({"forecast_reference_time": "2021-02-28T23:10Z"}, "a nowcast of 23:10 for 23:55 UTC, 2021-02-28"),
        ({"Lead_Time": 45}, "a nowcast for 2021-02-28T23:55:00: its lead_time is 45"),
        ({"title": "Forecast of rain"}, "a nowcast for 2021-02-28T23:55:00: its title is Forecast of rain"),
        ({"title": "Nowcast", "lead_time": 0, "issue_time": "2021-03-01T00:55+01"}, None),
        ({"title": "Quality-controlled rain rate for nowcasting", "date_created": "2021-02-28T00:00Z"}, None),
    ],
)
def test_forecasts_by_attributes(tmp_path, of, attributes, refusal):
    dataset = cf_dataset(1)
    (dataset if of == "file" else dataset["rr"]).attrs.update(attributes)
    (header,), _ = read_headers(written(dataset, tmp_path))
    assert header.refusal == refusal


def test_several_frames_of_one_time(tmp_path):
    """Three frames, and one time for them: which is of it?"""
    dataset = cf_dataset(3).rename(time="t").drop_vars("t")
    dataset = dataset.assign_coords(t=("t", [0, 1, 2], {"axis": "T", "units": "1"}))
    assert "t is no time" in refused(written(dataset, tmp_path))
    dataset = cf_dataset(3).rename(time="scan").drop_vars("scan").assign_coords(time=((), np.datetime64(TIME, "ns")))
    assert "frames differ in time alone" in refused(written(dataset, tmp_path))


def test_time_in_the_name_where_the_file_has_none(tmp_path):
    dataset = cf_dataset(1).isel(time=0).drop_vars("time")
    dataset.to_netcdf(tmp_path / "rain_202102282355.nc")
    (header,), _ = read_headers(tmp_path / "rain_202102282355.nc")
    assert header.time == np.datetime64(TIME)
    dataset.to_netcdf(tmp_path / "rain 28.02.2021 23h55.nc")
    (header,), _ = read_headers(tmp_path / "rain 28.02.2021 23h55.nc", FileHints(time_pattern="%d.%m.%Y %Hh%M"))
    assert header.time == np.datetime64(TIME)
    assert "no `time_pattern`" in refused(tmp_path / "rain 28.02.2021 23h55.nc")


def test_a_file_of_several_frames_stays_open_for_them(tmp_path):
    """By its hash: here it is gone after the first. Another file takes its place."""
    dataset = cf_dataset(5)
    path = written(dataset, tmp_path)
    headers, sha256 = read_headers(path)
    assert len(headers) == 5
    frames = [read_frame(path, (200.0, 1.6), 0, sha256)]
    path.unlink()
    frames += [read_frame(path, (200.0, 1.6), number, sha256) for number in range(1, 5)]
    for frame, rain in zip(frames, dataset["rr"].to_numpy(), strict=True):
        np.testing.assert_array_equal(frame.rain_rate, rain[::-1])
    (tmp_path / "b").mkdir()
    assert read_headers(written(cf_dataset(2), tmp_path / "b"))[1] != sha256
    with pytest.raises(UnreadableFile, match="No such file"):
        read_frame(path, (200.0, 1.6), 1, sha256)


@pytest.mark.parametrize("memory", [1 << 27, 2 * 12 * 16 * 4])
def test_frames_of_chunks_of_several(tmp_path, monkeypatch, memory):
    """Read chunk by chunk, or by less than one where it is too large, in any order."""
    monkeypatch.setattr("pipelines.radar.readers.cf.BLOCK_BYTES", memory)
    dataset = cf_dataset(10)
    dataset["rr"].encoding = {"chunks": (4, 12, 16)}
    dataset.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    _, sha256 = read_headers(tmp_path / "a.zarr")
    for number in (9, 0, 3, 5, 4, 8):
        frame = read_frame(tmp_path / "a.zarr", (200.0, 1.6), number, sha256)
        np.testing.assert_array_equal(frame.rain_rate, dataset["rr"][number, ::-1].to_numpy())


@pytest.mark.parametrize("units", ["km", "m"])
def test_bom(tmp_path, units):
    raw = np.arange(12 * 16, dtype=np.int16).reshape(12, 16)
    raw[0, 0] = -1
    frame = read_frame(write_bom(tmp_path / "a", raw, TIME, units=units), Z_R)
    assert np.isnan(frame.rain_rate[0, 0])
    assert frame.rain_rate[2, 3] == pytest.approx(35 * 0.05 * 6)
    assert (frame.time_is, frame.interval_s, frame.z_r) == ("end", 600, None)
    assert frame.time == np.datetime64("2021-02-28T23:55:00")
    np.testing.assert_allclose(frame.grid.x, 1000 * (np.arange(16) - 7.5))
    np.testing.assert_allclose(frame.grid.y, -1000 * (np.arange(12) - 5.5))
    lon, lat = frame.grid.lonlat()
    expected = pyproj.Proj(
        "+proj=aea +lat_0=-27.7178 +lon_0=153.24 +lat_1=-26.2 +lat_2=-29.3 +a=6378137 +b=6356752.31414"
    )(-7500.0, 5500.0, inverse=True)
    assert (lon[0, 0], lat[0, 0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bounds", [True, False])
def test_cf_netcdf_by_xarray_comes_north_up(tmp_path, bounds):
    """A flux in SI units, south first, with a time dimension, as xarray writes it."""
    flux = np.arange(12 * 16, dtype=np.float32).reshape(1, 12, 16) / 3.6e6
    flux[0, 0, 1] = np.nan
    crs = pyproj.CRS("EPSG:3035")
    dataset = xr.Dataset(
        {
            "rain": (
                ("time", "y", "x"),
                flux,
                {"standard_name": "rainfall_flux", "units": "kg m-2 s-1", "grid_mapping": "crs"},
            ),
            "crs": ((), 0, crs.to_cf()),
        },
        {
            "time": ("time", [np.datetime64(TIME, "ns")], {"standard_name": "time"}),
            "y": ("y", 3e6 + 2000.0 * np.arange(12), {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": ("x", 4e6 + 2000.0 * np.arange(16), {"units": "m", "standard_name": "projection_x_coordinate"}),
        },
        {"Conventions": "CF-1.11"},
    )
    if bounds:  # an amount over three minutes
        dataset["rain"] = (dataset["rain"] * 3.6e6).assign_attrs(
            standard_name="rainfall_amount", units="mm", grid_mapping="crs"
        )
        ends = np.array([[TIME - timedelta(minutes=3), TIME]], "datetime64[ns]")
        dataset["time_bnds"] = (("time", "nv"), ends)
        dataset["time"].attrs["bounds"] = "time_bnds"
        dataset["time"].encoding["units"] = "minutes since 2021-01-01"
    dataset.to_netcdf(tmp_path / "a.nc")
    frame = read_frame(tmp_path / "a.nc", Z_R)
    assert frame.rain_rate[11, 5] == pytest.approx(5 * (20 if bounds else 1 / 1000), rel=1e-5)
    assert np.isnan(frame.rain_rate[11, 1])
    assert np.isnan(frame.rain_rate).sum() == 1
    assert frame.grid.y[0] == 3e6 + 22000
    assert frame.grid.crs == crs or frame.grid.crs.to_epsg() == 3035
    assert frame.time == np.datetime64(TIME)
    assert (frame.time_is, frame.interval_s) == (("end", 180) if bounds else ("instant", 0))


@pytest.mark.parametrize("form", ["NETCDF3_64BIT", "NETCDF4", "zarr"])
def test_cf_of_several_times_on_latitudes_and_longitudes(tmp_path, form):
    path = tmp_path / "a"
    if form == "zarr":
        cf_dataset().to_zarr(path, consolidated=False)
    else:
        cf_dataset().to_netcdf(path, format=form)
    (found,) = radar_files(tmp_path, stores=True)
    assert found == path
    headers, _ = read_headers(path)
    assert [header.time for header in headers] == [np.datetime64(TIME + timedelta(minutes=5 * i)) for i in range(3)]
    frame = read_frame(path, Z_R, 2)
    assert np.isnan(frame.rain_rate[11, 0])
    assert frame.rain_rate[0, 3] == 2 * 192 + 11 * 16 + 3
    assert frame.grid.crs.is_geographic
    assert frame.grid.y[0] == pytest.approx(40.11)
    assert frame.source == "a#2"


def test_cf_refused(tmp_path):
    path = tmp_path / "a.nc"
    dataset = cf_dataset(1)
    dataset["rr"].attrs |= {"standard_name": "rainfall_amount", "units": "mm"}
    dataset.to_netcdf(path)
    assert "has no bounds" in refused_frame(path, header_too=False)
    cf_dataset(1).assign_coords(lat=("lat", np.arange(12.0), {"standard_name": "latitude", "units": "m"})).to_netcdf(
        path
    )
    assert "lat is in m, not in degrees" in refused_frame(path, header_too=False)


@pytest.mark.parametrize(
    ("group", "attributes", "reason"),
    [
        ("precipitation", {"standard_name": np.bytes_("air_temperature")}, "no variable whose standard_name"),
        ("precipitation", {"units": np.bytes_("K")}, "unit 'K'"),
        ("valid_time", {"units": np.bytes_("fortnights since")}, "fortnights"),
        ("valid_time", {"standard_name": None, "units": np.bytes_("m")}, "no time"),
        ("x", {"units": np.bytes_("degrees_east")}, "not in metres"),
        ("proj", {"grid_mapping_name": np.bytes_("nonsense")}, "nonsense"),
    ],
)
def test_cf_headers_that_say_something_else(tmp_path, group, attributes, reason):
    assert reason in refused_frame(edited(write_bom(tmp_path / "a.nc", RAW, TIME), group, **attributes))
