"""Every way in which a file says that a pixel has no data, each with the value that is right beside it."""

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from radar_files import cf_dataset, write_geotiff
from rasterio.enums import ColorInterp

from pipelines.common.errors import UnreadableFile
from pipelines.params.radar import SILENT, FileHints
from pipelines.radar.readers.missing import unpack
from pipelines.radar.readers.read import read_frame, read_headers

Z_R = (200.0, 1.6)
NAN = np.nan


@pytest.mark.parametrize(
    ("raw", "attributes", "right"),
    [
        # In the packed type, and then of packed numbers; a limit with a point is of unpacked ones.
        (np.int16([0, 30, 2001]), {"scale_factor": 0.1, "valid_range": np.int16([0, 2000])}, [0, 3, NAN]),
        (np.int16([0, 30, 2001]), {"scale_factor": 0.1, "valid_range": np.float32([0, 200])}, [0, 3, NAN]),
        (np.int16([0, 30, 2001]), {"scale_factor": 0.1, "valid_max": "2000"}, [0, 3, NAN]),
        (np.int16([0, 30, 2001]), {"scale_factor": 0.1, "valid_max": "200."}, [0, 3, NAN]),
        (np.int16([-5, 30, 40]), {"scale_factor": 0.1, "valid_min": 0}, [NAN, 3, 4]),
        (np.float32([0, 250, 251]), {"valid_max": 250.0}, [0, 250, NAN]),
        (np.float32([0, 0.1, 0.2]), {"valid_max": 0.1}, [0, 0.1, NAN]),  # 0.1 in 32 bits is more than in 64
        (np.float32([0, 1, 3]), {"valid_range": "0, 2"}, [0, 1, NAN]),
        # Sentinels: of another width of float, in text, several.
        (np.float32([0, 1, -9999.9]), {"_FillValue": np.float64(-9999.9)}, [0, 1, NAN]),
        (np.float64([0, 1, np.float32(-9999.9)]), {"missing_value": np.float32(-9999.9)}, [0, 1, NAN]),
        (np.float32([0, 1, -999]), {"missing_value": "-999"}, [0, 1, NAN]),
        (np.uint8([0, 254, 255]), {"_FillValue": np.uint8(255), "missing_value": np.uint8(254)}, [0, NAN, NAN]),
        (np.uint8([0, 254, 255]), {"missing_value": np.uint8([254, 255])}, [0, NAN, NAN]),
        (np.uint8([0, 254, 255]), {"missing_value": "254 255"}, [0, NAN, NAN]),
        (np.int16([0, 10, -32768]), {"scale_factor": 0.5, "missing_value": -32768.0}, [0, 5, NAN]),
        (np.uint8([0, 10, 255]), {"scale_factor": 0.5, "add_offset": -32, "missing_value": 95.5}, [-32, -27, NAN]),
        # Signed bytes that are meant as unsigned, with the fill value of the signed type.
        (np.int8([0, -56, -1]), {"_Unsigned": "true", "_FillValue": np.int8(-1)}, [0, 200, NAN]),
        (np.int8([0, -56, -1]), {"_Unsigned": "true", "valid_max": np.int8(-2)}, [0, 200, NAN]),
        # A library's own fill value, infinity; and 0, which is a number.
        (np.float32([0, 9.96921e36, np.inf]), {}, [0, NAN, NAN]),
        # 16 bits have 10000 for 9999, and no 1e20.
        (np.float16([0, 9999, 9990]), {"missing_value": 9999.0, "_FillValue": 1e20}, [0, NAN, 9992]),
        (np.float32([0, 1, 2]), {"_FillValue": np.float32("nan")}, [0, 1, 2]),
        (np.float32([0, 1, 2]), {"_FillValue": np.float32(0)}, [NAN, 1, 2]),
    ],
)
def test_unpack(raw, attributes, right):
    np.testing.assert_allclose(unpack(raw, attributes, SILENT), right, rtol=1e-6)


@pytest.mark.parametrize(
    "attributes",
    [
        {"valid_range": "all"},
        {"valid_range": [1.0]},
        {"_FillValue": "none"},
        {"scale_factor": [0.1, 1.0]},
        {"add_offset": ""},
    ],
)
def test_what_is_no_number_is_named(attributes):
    with pytest.raises(ValueError, match=next(iter(attributes))):
        unpack(np.zeros(3, np.float32), attributes, SILENT)


def test_the_user_says_nodata_where_the_file_does_not():
    raw = np.float32([0, -99, -98])
    np.testing.assert_equal(unpack(raw, {}, FileHints(nodata=-99)), [0, NAN, -98])
    np.testing.assert_equal(unpack(raw, {"_FillValue": np.float32("nan")}, FileHints(nodata=[-99, -98])), [0, NAN, NAN])
    np.testing.assert_equal(unpack(raw, {"_FillValue": -99.0}, FileHints(nodata=-99)), [0, NAN, -98])
    with pytest.raises(ValueError, match=r"nodata: params\.yaml says .*-98.*, and the file .*-99"):
        unpack(raw, {"_FillValue": -99.0}, FileHints(nodata=-98))


@settings(max_examples=200)
@given(
    st.lists(st.integers(-100, 100), min_size=1, max_size=30),
    st.integers(-100, 100),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.sampled_from([-32.0, 0.0]),
    st.sampled_from([np.int8, np.int16, np.int32, np.float32, np.float64]),
    st.sampled_from([lambda n: n, float, str, np.float32, lambda n: [n], lambda n: f"{n}.0"]),
)
def test_a_sentinel_of_any_type_takes_its_pixels_alone(numbers, sentinel, scale, offset, dtype, spelled):
    raw = np.array(numbers, dtype)
    values = unpack(raw, {"scale_factor": scale, "add_offset": offset, "_FillValue": spelled(sentinel)}, SILENT)
    np.testing.assert_array_equal(np.isnan(values), raw == sentinel)
    known = raw != sentinel
    np.testing.assert_allclose(values[known], np.array(numbers)[known] * scale + offset, rtol=1e-6, atol=1e-9)


def test_zarrs_own_fill_value(tmp_path):
    """0, as zarr has it by default, is a number; another is what was never written."""
    for number, (form, fill) in enumerate([(2, 0), (3, 0), (2, -1), (3, -1)]):
        path = tmp_path / f"{number}.zarr"
        cf_dataset(2).drop_vars("rr").to_zarr(path, zarr_format=form, consolidated=False)
        kwargs = {"dimension_names": ["time", "lat", "lon"]} if form == 3 else {}
        array = zarr.open_group(path, mode="r+").create_array(
            "rr", shape=(2, 12, 16), chunks=(1, 12, 16), dtype="f4", fill_value=fill, **kwargs
        )
        array.attrs.update(standard_name="rainfall_rate", units="mm h-1", _ARRAY_DIMENSIONS=["time", "lat", "lon"])
        array[0] = np.tile(np.where(np.arange(16) == 3, 5.0, 0.0), (12, 1))
        if fill == 0:
            assert (read_frame(path, Z_R, 1).rain_rate == 0).all()
        else:
            with pytest.raises(UnreadableFile, match="no pixel is valid"):
                read_frame(path, Z_R, 1)
        frame = read_frame(path, Z_R, 0).rain_rate
        assert (frame[:, 3] == 5).all()
        assert (np.delete(frame, 3, axis=1) == 0).all()


def test_xarray_says_that_0_is_missing(tmp_path):
    dataset = cf_dataset(1)
    dataset["rr"][0, 1] = 0.0
    for form in (2, 3):
        path = tmp_path / f"{form}.zarr"
        # In format 2 xarray writes it as Zarr's fill value alone, which means nothing; `missing_value` counts.
        dataset["rr"].encoding = {"missing_value": np.float32(0)} if form == 2 else {"_FillValue": np.float32(0)}
        dataset.to_zarr(path, zarr_format=form, consolidated=False)
        assert np.isnan(read_frame(path, Z_R).rain_rate[10]).all()


@pytest.mark.parametrize("filled", [True, False])
def test_no_echo_is_what_is_filled_beside_a_mask_of_coverage(tmp_path, filled):
    """A file that says in another way where nothing was seen has holes where it is filled."""
    path = tmp_path / "a.nc"
    dataset = cf_dataset(1)
    dbz = np.full((1, 12, 16), np.nan, np.float32)
    dbz[0, 5, 7] = 40
    if not filled:
        dbz[0, 6] = -32
    dataset["dbz"] = ("time", "lat", "lon"), dbz, {"standard_name": "equivalent_reflectivity_factor", "units": "dBZ"}
    mask = np.zeros((12, 16), np.int8)
    mask[:, 0] = 7
    flags = {"flag_values": np.int8([7, 0]), "flag_meanings": "no_coverage seen"}
    dataset["mask"] = ("lat", "lon"), mask, flags
    dataset.drop_vars("rr").to_netcdf(path)
    rain_rate = read_frame(path, Z_R).rain_rate
    assert np.isnan(rain_rate[:, 0]).all()
    assert rain_rate[6, 7] == pytest.approx(11.53, abs=0.005)
    assert (rain_rate == 0).sum() == (12 * 15 - 1 if filled else 15)


@pytest.mark.parametrize(
    ("dtype", "flags", "raw"),
    [
        (np.int8, {"flag_values": "0, 1", "flag_meanings": "seen, no_coverage"}, 1),
        (np.float32, {"flag_values": np.float32([0, 1]), "flag_meanings": "seen out_of_radar_coverage"}, 1),
        (np.int8, {"flag_masks": np.int8([2, -128]), "flag_meanings": "clutter not_observed"}, -126),
        (np.uint8, {"flag_masks": np.uint8([2, 128]), "flag_meanings": "clutter not_observed"}, 130),
        (
            np.uint8,
            {
                "flag_masks": np.uint8([1, 12, 12]),
                "flag_values": np.uint8([1, 4, 8]),
                "flag_meanings": "clutter seen beyond_range",
            },
            9,
        ),
    ],
)
def test_flags_of_what_is_not_seen(tmp_path, dtype, flags, raw):
    """By value, by bits, or by values of some bits; a pixel of clutter alone is seen."""
    dataset = cf_dataset(1)
    mask = np.zeros((12, 16))
    mask[3, 4], mask[:, 0] = (0 if dtype == np.float32 or raw == 1 else raw & 3), raw
    dataset["mask"] = ("lat", "lon"), mask.astype(dtype), flags
    dataset["rr"][:] = 0
    dataset.to_netcdf(tmp_path / "a.nc")
    np.testing.assert_array_equal(np.argwhere(np.isnan(read_frame(tmp_path / "a.nc", Z_R).rain_rate))[:, 1], [0] * 12)


def test_a_mask_whose_flags_do_not_fit_is_refused(tmp_path):
    dataset = cf_dataset(1)
    dataset["mask"] = ("lat", "lon"), np.zeros((12, 16), np.int8), {"flag_meanings": "seen no_coverage"}
    dataset.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(UnreadableFile, match="mask has other flags than flag_meanings"):
        read_headers(tmp_path / "a.nc")


@pytest.mark.parametrize("undeclared", [1e7, 1e20])
def test_undeclared_numbers_above_any_rain_are_unknown(tmp_path, undeclared):
    values = np.float32([[undeclared, 0, 3], [2000, 0, 0]])
    path = write_geotiff(tmp_path / "x_202102282355.tif", values, None, units="mm/h", nodata=float("nan"))
    np.testing.assert_equal(read_frame(path, Z_R).rain_rate, [[NAN, 0, 3], [2000, 0, 0]])


def test_undeclared_numbers_beyond_any_reflectivity_are_unknown(tmp_path):
    values = np.float32([[-999, -40.5, -32.5], [-30, 0, 255]])
    path = write_geotiff(tmp_path / "x_202102282355.tif", values, None, units="dBZ", nodata=float("nan"))
    rain_rate = read_frame(path, Z_R).rain_rate
    np.testing.assert_array_equal(np.isnan(rain_rate), [[True, True, False], [False, False, True]])
    np.testing.assert_array_equal(rain_rate[[0, 1], [2, 0]], 0)


@pytest.mark.parametrize("kind", ["mask", "alpha", "number"])
def test_geotiff(tmp_path, kind):
    values = np.zeros((12, 16), np.uint16 if kind == "alpha" else np.float32)
    values[2, 3], values[:, 0] = 3, 50
    seen = np.where(np.arange(16) > 0, 255, 0).astype(np.uint8) * np.ones((12, 1), np.uint8)
    profile = {"driver": "GTiff", "width": 16, "height": 12, "crs": "EPSG:3035", "dtype": values.dtype}
    profile |= {"transform": rasterio.Affine(1000, 0, 4e6, 0, -1000, 3e6), "count": 2 if kind == "alpha" else 1}
    path = tmp_path / "x_202102282355.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
        file.units = ["mm/h"] + [""] * (kind == "alpha")
        if kind == "alpha":
            file.write(seen.astype(values.dtype) * 257, 2)
            file.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
        elif kind == "mask":
            file.write_mask(seen)
        else:  # as GDAL takes attributes from netCDF
            file.update_tags(1, missing_value="50")
    rain_rate = read_frame(path, Z_R).rain_rate
    assert np.isnan(rain_rate[:, 0]).all()
    assert np.isnan(rain_rate).sum() == 12
    assert rain_rate[2, 3] == 3
    assert (rain_rate == 0).sum() == 12 * 15 - 1


def test_a_geotiffs_mask_in_another_file_is_not_overlooked(tmp_path):
    path = write_geotiff(tmp_path / "x_202102282355.tif", np.ones((12, 16), np.float32), None, units="mm/h")
    (tmp_path / "x_202102282355.tif.msk").write_bytes(path.read_bytes())
    with pytest.raises(UnreadableFile, match="mask is in a file of its own"):
        read_headers(path)


def test_what_netcdf_never_wrote_is_unknown(tmp_path):
    path = tmp_path / "a.nc"
    cf_dataset(1).drop_vars("rr").to_netcdf(path)
    with netCDF4.Dataset(path, "a") as file:
        rain = file.createVariable("rr", "i2", ("time", "lat", "lon"))
        rain.standard_name, rain.units = "rainfall_rate", "mm h-1"
        rain[0, :5] = 4
    rain_rate = read_frame(path, Z_R).rain_rate
    assert (rain_rate[-5:] == 4).all()
    assert np.isnan(rain_rate[:-5]).all()
    assert xr.open_dataset(path)["rr"].dtype == np.int16  # xarray doesn't know
