"""Files that lead to other files are refused by name, through `scs ingest`; what lies in them is read as ever."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pyproj
import pytest
import rasterio
import zarr
from h5py import h5d, h5p, h5s, h5t
from radar_files import LAEA, cf_dataset, name_of, write_bom, write_geotiff, write_knmi, write_odim
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.common.errors import UnreadableFile
from pipelines.radar.quality_table import tables_of
from pipelines.radar.readers.georeference import crs_of
from pipelines.radar.readers.read import read_frame, read_time
from pipelines.radar.store import open_frames

START = datetime(2024, 6, 1, 12)
PIXELS = np.full((12, 16), 100, np.uint8)
DATA = "dataset1/data1/data"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Another file of the machine, which would be pixels."""
    path = tmp_path / "secret"
    path.write_bytes(bytes(range(192)) * 8)
    return path


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one good radar file."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).parents[4] / "params.yaml", tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    write_odim(folder / name_of(START), PIXELS, START)
    return folder


def reasons(source: Path) -> dict[str, str]:
    """What `scs ingest` says of each file but the good one, which alone is in the store."""
    store = Path("out.zarr")
    done = CliRunner().invoke(app, ["ingest", str(source), str(store)])
    with tables_of(store)[0].open() as stream:
        rejected = {row["file"]: row["reason"] for row in csv.DictReader(stream)}
    assert done.exit_code == 10 + len(rejected), done.output
    assert open_frames(store).sizes["time"] == 1
    return rejected


def edited(path: Path, edit: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def odim(path: Path, edit: Callable[[h5py.File], object]) -> Path:
    return edited(write_odim(path, PIXELS, START + timedelta(minutes=5)), edit)


def replaced(file: h5py.File, name: str, make: Callable[[h5py.Group, str], object]) -> None:
    """Make ``name`` anew, with its attributes."""
    group, name = file[name].parent, name.rpartition("/")[2]
    kept = dict(group[name].attrs)
    del group[name]
    made = make(group, name)
    if isinstance(made, h5py.Dataset):
        for attribute, value in kept.items():
            if attribute not in ("DIMENSION_LIST", "REFERENCE_LIST"):
                made.attrs[attribute] = value


def virtual(group: h5py.Group, name: str, file: str) -> h5py.Dataset:
    layout = h5py.VirtualLayout((12, 16), np.uint8)
    layout[:] = h5py.VirtualSource(file, "/pixels", (12, 16), np.uint8)
    return group.create_virtual_dataset(name, layout, fillvalue=0)


def with_filter(group: h5py.Group, name: str) -> None:
    created = h5p.create(h5p.DATASET_CREATE)
    created.set_chunk((12, 16))
    created.set_filter(32008, 1, (1,))  # bitshuffle, optional
    h5d.create(group.id, name.encode(), h5t.NATIVE_UINT8, h5s.create_simple((12, 16)), created)


def test_hdf5_reads_nothing_outside_of_its_file(source: Path, secret: Path) -> None:
    external = [(str(secret), 0, 192)]
    cases: dict[str, tuple[Callable[[h5py.Group, str], object], str]] = {
        "storage.h5": (
            lambda group, name: group.create_dataset(name, (12, 16), np.uint8, external=external),
            f"external storage: the data of /{DATA} are in {secret}",
        ),
        "link.h5": (
            lambda group, name: group.__setitem__(name, h5py.ExternalLink(str(secret), "/pixels")),
            f"external link /{DATA} to /pixels in {secret}",
        ),
        "virtual.h5": (
            lambda group, name: virtual(group, name, str(secret)),
            f"virtual dataset /{DATA}: its data are in {secret}",
        ),
        "gone.h5": (
            lambda group, name: virtual(group, name, "/nowhere.h5"),
            f"virtual dataset /{DATA}: its data are in /nowhere.h5",
        ),
        "self.h5": (lambda group, name: virtual(group, name, "."), f"virtual dataset /{DATA}: its data are in ."),
        "filter.h5": (with_filter, f"filter 32008 () of /{DATA} isn't one that is known"),
    }
    for name, (make, _) in cases.items():
        odim(source / name, lambda file, make=make: replaced(file, DATA, make))
    # Where no reader looks, it is refused as well: the next version of one might.
    odim(source / "beside.h5", lambda file: file.__setitem__("how/more", h5py.ExternalLink("/etc/other.h5", "/a")))
    expected = {name: reason for name, (_, reason) in cases.items()}
    assert reasons(source) == expected | {"beside.h5": "external link /how/more to /a in /etc/other.h5"}


def test_so_in_every_format_that_is_hdf5(source: Path, secret: Path) -> None:
    time = START + timedelta(minutes=5)
    write_knmi(source / "knmi.h5", np.full((12, 16), 10), time)
    write_bom(source / "bom.nc", np.full((12, 16), 10, np.int16), time)
    external = [(str(secret), 0, 384)]
    for name, data, kind in (("knmi.h5", "image1/image_data", np.uint16), ("bom.nc", "precipitation", np.int16)):
        edited(
            source / name,
            lambda file, data=data, kind=kind: replaced(
                file, data, lambda group, last, kind=kind: group.create_dataset(last, (12, 16), kind, external=external)
            ),
        )
    with netCDF4.Dataset(source / "bom.nc") as file:  # netCDF's own library would read it
        assert "precipitation" in file.variables
    assert reasons(source) == {
        "bom.nc": f"external storage: the data of /precipitation are in {secret}",
        "knmi.h5": f"external storage: the data of /image1/image_data are in {secret}",
    }


def test_links_within_a_file_are_fine(tmp_path: Path) -> None:
    def rearranged(file: h5py.File) -> None:
        file["pixels"] = file[DATA]  # a second name
        del file[DATA]
        file[DATA] = h5py.SoftLink("/pixels")
        file["dataset1/again"] = file["/"]  # a circle
        file["nowhere"] = h5py.SoftLink("/not/there")

    linked = read_frame(odim(tmp_path / "linked.h5", rearranged), (200.0, 1.6))
    plain = read_frame(odim(tmp_path / "plain.h5", lambda file: None), (200.0, 1.6))
    np.testing.assert_array_equal(linked.rain_rate, plain.rain_rate)


@pytest.mark.parametrize("compression", ["zlib", "zstd", "bzip2", "blosc_zstd", "szip"])
def test_what_netcdf_packs_with_is_known(tmp_path: Path, compression: str) -> None:
    path = write_bom(tmp_path / "a.nc", np.full((12, 16), 20, np.int16), START)
    with netCDF4.Dataset(path, "a") as file:
        kept = dict(file["precipitation"].__dict__)
        file.renameVariable("precipitation", "plain")
        file["plain"].standard_name = "other"
        packed = file.createVariable("packed", "i2", ("y", "x"), compression=compression, fill_value=-1)
        packed.setncatts({name: value for name, value in kept.items() if name != "_FillValue"})
        packed.set_auto_maskandscale(False)
        packed[:] = 20
    np.testing.assert_allclose(read_frame(path, (200.0, 1.6)).rain_rate, 6.0)  # 1 mm in 10 minutes


def test_a_zarr_store_reads_nothing_outside_of_it(source: Path, secret: Path) -> None:
    def stored(name: str, zarr_format: int = 3) -> Path:
        cf_dataset().to_zarr(source / name, zarr_format=zarr_format, consolidated=False)
        return source / name

    def changed(path: Path, **changes: object) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    chunk = next(path for path in (stored("chunk.zarr") / "rr" / "c").rglob("*") if path.is_file())
    chunk.unlink()
    chunk.symlink_to(secret)
    folder = stored("folder.zarr") / "rr"
    shutil.move(folder, source.parent / "moved")
    folder.symlink_to(source.parent / "moved")
    os.mkfifo(stored("pipe.zarr") / "rr" / "pipe")
    changed(stored("pickle.zarr", 2) / "rr" / ".zarray", filters=[{"id": "pickle"}])
    changed(stored("object.zarr", 2) / "rr" / ".zarray", compressor={"id": "msgpack2"})
    changed(stored("codec.zarr") / "rr" / "zarr.json", codecs=[{"name": "bytes"}, {"name": "evil"}])
    inner = {"chunk_shape": [1, 12, 16], "codecs": [{"name": "evil"}], "index_codecs": []}
    shard = {"name": "sharding_indexed", "configuration": inner}
    changed(stored("inner.zarr") / "rr" / "zarr.json", codecs=[shard])
    changed(stored("transformer.zarr") / "rr" / "zarr.json", storage_transformers=[{"name": "remote"}])
    changed(stored("list.zarr") / "rr" / "zarr.json", codecs=7)
    codec = "isn't one that is known"
    assert reasons(source) == {
        "chunk.zarr": f"{chunk.relative_to(source / 'chunk.zarr')}: a link to {secret}, out of its folder",
        "codec.zarr": f"rr/zarr.json: codec evil {codec}",
        "folder.zarr": f"rr: a link to {source.parent / 'moved'}, out of its folder",
        "inner.zarr": f"rr/zarr.json: codec evil {codec}",
        "list.zarr": "rr/zarr.json isn't the metadata of a Zarr array",
        "object.zarr": f"rr/.zarray: codec msgpack2 {codec}",
        "pickle.zarr": f"rr/.zarray: codec pickle {codec}",
        "pipe.zarr": "rr/pipe: a pipe, no file",
        "transformer.zarr": "rr/zarr.json: storage transformers, of which none is known",
    }


def test_a_link_within_a_zarr_store_is_fine(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    cf_dataset(1).to_zarr(store)
    plain = read_frame(store, (200.0, 1.6))
    (store / "parts").mkdir()
    shutil.move(store / "rr", store / "parts")
    (store / "rr").symlink_to("parts/rr")
    assert zarr.open_group(store, mode="r")["rr"].shape == (1, 12, 16)
    np.testing.assert_array_equal(read_frame(store, (200.0, 1.6)).rain_rate, plain.rain_rate)


def test_a_geotiff_reads_nothing_outside_of_it(source: Path, secret: Path) -> None:
    values = np.full((12, 16), 2.0, np.float32)
    other = write_geotiff(source.parent / "other.tif", values[::2, ::2] + 50, START, units="mm/h")
    for name, namespace, tag in (("a.tif", "OVERVIEWS", "OVERVIEW_FILE"), ("b.tif", "GEOLOCATION", "X_DATASET")):
        path = write_geotiff(source / name, values, START, units="mm/h")
        with rasterio.open(path, "r+") as file:
            file.update_tags(ns=namespace, **{tag: str(other)})
    assert reasons(source) == {
        "a.tif": f"tag OVERVIEW_FILE of OVERVIEWS leads to another file, {other}",
        "b.tif": f"tag X_DATASET of GEOLOCATION leads to another file, {other}",
    }
    # A file beside it that GDAL would look into: it is read without.
    alone = write_geotiff(source.parent / "c.tif", values, START, units="mm/h")
    alone.with_name("c.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><NoDataValue>2</NoDataValue></PAMRasterBand></PAMDataset>"
    )
    np.testing.assert_array_equal(read_frame(alone, (200.0, 1.6)).rain_rate, values)


@pytest.mark.parametrize("start", ["<VRTDataset rasterXSize='16'>", "  <?xml version='1.0'?><VRTDataset>"])
def test_a_vrt_is_text(tmp_path: Path, start: str) -> None:
    (tmp_path / "a.tif").write_text(start)
    with pytest.raises(UnreadableFile, match="a web page or XML"):
        read_time(tmp_path / "a.tif")


def test_a_link_is_not_followed_out_of_its_folder(source: Path) -> None:
    outside = write_odim(source.parent / "outside.h5", PIXELS, START + timedelta(minutes=5))
    (source.parent / "year").mkdir()
    shutil.copy(outside, source.parent / "year")
    (source / "link.h5").symlink_to(outside)
    (source / "up.h5").symlink_to("../outside.h5")
    (source / "year").symlink_to("../year")
    (source / "twice.h5").symlink_to("link.h5")
    (source / "within.h5").symlink_to(name_of(START))
    reason = f"a link to {outside}, out of its folder"
    links = {"link.h5": reason, "up.h5": reason, "twice.h5": reason}
    assert reasons(source) == links | {"year": f"a link to {source.parent / 'year'}, out of its folder"}


def test_a_projection_reads_no_other_file(source: Path, secret: Path) -> None:
    """PROJ would open what grids of shifts and init name, by any path of the machine."""
    time = START + timedelta(minutes=5)
    words = {
        "grids.h5": f"{LAEA} +nadgrids={secret}",
        "list.h5": f"{LAEA} +nadgrids=@null,{secret}",
        "geoid.h5": f"{LAEA} +geoidgrids={secret}",
        "init.h5": f"+init={secret}:a",
        "short.h5": f"init={secret}:a",
    }
    for name, projection in words.items():
        odim(source / name, lambda file, text=projection: file["where"].attrs.update({"projdef": np.bytes_(text)}))
    wkt = pyproj.CRS(f"{LAEA} +nadgrids={secret}").to_wkt()
    write_bom(source / "wkt.nc", np.full((12, 16), 10, np.int16), time)
    with netCDF4.Dataset(source / "wkt.nc", "a") as file:
        file["proj"].crs_wkt = wkt
    assert str(secret) in wkt
    write_bom(source / "name.nc", np.full((12, 16), 10, np.int16), time)
    with netCDF4.Dataset(source / "name.nc", "a") as file:
        file["proj"].geographic_crs_name = f"+proj=longlat +nadgrids={secret}"
    write_knmi(source / "knmi.h5", np.full((12, 16), 10), time)
    of_knmi = f"+proj=stere +lat_0=90 +nadgrids={secret}"
    edited(
        source / "knmi.h5",
        lambda file: file["geographic/map_projection"].attrs.update({"projection_proj4_params": np.bytes_(of_knmi)}),
    )
    leads = "its projection leads to another file: "
    assert reasons(source) == {
        "geoid.h5": f"{leads}geoidgrids={secret}",
        "grids.h5": f"{leads}nadgrids={secret}",
        "init.h5": f"{leads}init={secret}:a",
        "knmi.h5": f"{leads}nadgrids={secret}",
        "list.h5": f"{leads}nadgrids=@null,{secret}",
        "name.nc": f"{leads}nadgrids={secret}",
        "short.h5": f"{leads}init={secret}:a",
        "wkt.nc": f"{leads}nadgrids={secret}",
    }


@pytest.mark.parametrize("words", ["EPSG:3857", "+init=epsg:3035", "+proj=merc +nadgrids=@null", "OGC:CRS84"])
def test_projections_of_proj_itself_are_fine(words: str) -> None:
    assert crs_of(words) == pyproj.CRS(words)
    assert crs_of(pyproj.CRS(words).to_wkt()).equals(pyproj.CRS(words), ignore_axis_order=True)


@pytest.mark.parametrize(
    "words",
    [
        'PARAMETERFILE["Latitude and longitude difference file","/etc/a.gsb"]',
        'ParameterFile ( "with ""quotes"" in it" , "/etc/a.gsb")',
        'PARAMETERFILE[broken,"/etc/a.gsb"]',
        'EXTENSION["PROJ4","+proj=longlat +nadgrids=/etc/a.gsb +no_defs"]',
        'VERT_DATUM["a",2005,EXTENSION["PROJ4_GRIDS","/etc/a.gtx"]]',
        '+proj=longlat +nadgrids="/etc/a.gsb"',
        "+init='/etc/a:b'",
        "+proj=pipeline +step +proj=gridshift +grids=/etc/a.tif",
        "+proj=tinshift +file=/etc/a.json",
        "+proj=defmodel +model=/etc/a.json",
        "+proj=deformation +xy_grids=/etc/a.tif",
    ],
)
def test_other_words_for_a_file(words: str) -> None:
    with pytest.raises(ValueError, match="its projection leads to another file"):
        crs_of(words)


def test_a_projection_in_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        crs_of(pyproj.CRS("EPSG:3035").to_json())
