"""ODIM_H5 composites as other software reads them: h5py by the letter of the format, and pysteps."""

import time
from pathlib import Path

import h5py
import numpy as np
import pyproj
import pytest
from pysteps.io import import_odim_hdf5

from pipelines.radar.grid import Grid
from pipelines.radar.odim_writer import write_composite

SHAPE = (40, 50)
PROJECTION = "+proj=stere +lat_0=90 +lon_0=10 +lat_ts=60 +x_0=0 +y_0=0 +ellps=WGS84 +units=m"
LEFT, TOP, DX, DY = -400e3, -3000e3, 2000.0, 1000.0
TIME = np.datetime64("2024-07-01T00:02:00", "s")


@pytest.fixture
def dbz() -> np.ndarray:
    """Echoes of many strengths, rows that see none, and columns that aren't seen."""
    values = np.random.default_rng(3).uniform(-31, 70, SHAPE)
    values[:4] = -np.inf
    values[:, -5:] = np.nan
    return values


def written(path: Path, dbz: np.ndarray) -> Path:
    grid = Grid.from_edges(pyproj.CRS(PROJECTION), left=LEFT, top=TOP, dx=DX, dy=DY, shape=SHAPE)
    write_composite(path, dbz, TIME, grid, scan_s=300, how={"nodes": "aaaaa, bbbbb", "zr_a": 200.0, "scan_count": 3})
    return path


def test_pysteps_reads_what_was_written_to_half_a_step(tmp_path: Path, dbz: np.ndarray) -> None:
    read, _, metadata = import_odim_hdf5(str(written(tmp_path / "a.h5", dbz)), qty="DBZH")
    assert np.array_equal(np.isnan(read), np.isnan(dbz))
    echo = np.isfinite(dbz)
    assert np.abs(read[echo] - dbz[echo]).max() <= 0.25
    assert (read[np.isneginf(dbz)] == -30.0).all()  # pysteps' own value for undetect
    assert (metadata["xpixelsize"], metadata["ypixelsize"]) == (DX, DY)
    edges = [metadata[name] for name in ("x1", "x2", "y1", "y2")]
    assert edges == pytest.approx([LEFT, LEFT + 50 * DX, TOP - 40 * DY, TOP], abs=0.01)


def test_corners_are_the_outer_ones(tmp_path: Path, dbz: np.ndarray) -> None:
    project = pyproj.Proj(PROJECTION)
    with h5py.File(written(tmp_path / "a.h5", dbz)) as file:
        where = file["where"].attrs
        assert (where["xsize"], where["ysize"]) == (50, 40)
        assert pyproj.CRS(where["projdef"].decode()) == pyproj.CRS(PROJECTION)
        for corner, x, y in (("LL", 0, 40), ("UL", 0, 0), ("UR", 50, 0), ("LR", 50, 40)):
            lonlat = project(LEFT + x * DX, TOP - y * DY, inverse=True)
            assert (where[f"{corner}_lon"], where[f"{corner}_lat"]) == pytest.approx(lonlat, abs=1e-9)


def test_attributes_are_those_of_a_composite_of_reflectivity(tmp_path: Path, dbz: np.ndarray) -> None:
    with h5py.File(written(tmp_path / "a.h5", dbz)) as file:
        assert file.attrs["Conventions"] == b"ODIM_H5/V2_4"
        what = file["what"].attrs
        assert (what["object"], what["version"]) == (b"COMP", b"H5rad 2.4")
        assert (what["date"], what["time"]) == (b"20240701", b"000200")
        period = file["dataset1/what"].attrs
        assert (period["startdate"], period["starttime"]) == (b"20240630", b"235700")
        assert (period["enddate"], period["endtime"]) == (b"20240701", b"000200")
        assert file["dataset1/data1/what"].attrs["quantity"] == b"DBZH"
        data = file["dataset1/data1/data"]
        assert data.dtype == np.uint8
        assert (data.attrs["CLASS"], data.attrs["IMAGE_VERSION"]) == (b"IMAGE", b"1.2")
        assert file["how"].attrs["nodes"] == b"aaaaa, bbbbb"


def test_attributes_have_the_types_that_the_format_prescribes(tmp_path: Path, dbz: np.ndarray) -> None:
    with h5py.File(written(tmp_path / "a.h5", dbz)) as file:
        text = file["what"].attrs.get_id("object").get_type()
        assert isinstance(text, h5py.h5t.TypeStringID) and not text.is_variable_str()
        assert (text.get_size(), text.get_strpad()) == (5, h5py.h5t.STR_NULLTERM)
        assert file["where"].attrs.get_id("xsize").dtype == np.int64
        assert file["how"].attrs.get_id("scan_count").dtype == np.int64
        assert file["dataset1/data1/what"].attrs.get_id("nodata").dtype == np.float64


def test_an_echo_never_becomes_no_echo_or_no_data(tmp_path: Path, dbz: np.ndarray) -> None:
    dbz[10, :45], dbz[11, :45] = -60.0, 200.0
    with h5py.File(written(tmp_path / "a.h5", dbz)) as file:
        codes = file["dataset1/data1/data"][...]
    assert (codes[10, :45] == 1).all() and (codes[11, :45] == 254).all()
    assert (codes[:4, :45] == 0).all() and (codes[:, 45:] == 255).all()


def test_the_clock_is_not_in_the_bytes(tmp_path: Path, dbz: np.ndarray) -> None:
    first = written(tmp_path / "a.h5", dbz).read_bytes()
    time.sleep(1.1)  # HDF5's time stamps are in whole seconds
    assert written(tmp_path / "b.h5", dbz).read_bytes() == first


def test_reflectivity_of_another_shape_is_refused(tmp_path: Path, dbz: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(40, 49\).*\(40, 50\)"):
        written(tmp_path / "a.h5", dbz[:, 1:])
    assert not (tmp_path / "a.h5").exists()
