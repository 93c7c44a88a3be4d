"""A small file that would take gigabytes is refused by `scs ingest`, whose worker stays within its limit."""

import bz2
import csv
import gzip
import io
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import rasterio
import zarr
from radar_files import (
    LAEA,
    cf_dataset,
    name_of,
    write_fmi_pgm,
    write_geotiff,
    write_knmi,
    write_mch_gif,
    write_meteonet,
    write_mrms,
    write_odim,
)
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.common import workers
from pipelines.common.limits import MB, Limits
from pipelines.common.workers import Decoders, decoders
from pipelines.radar.quality_table import tables_of
from pipelines.radar.readers.read import read_frame
from pipelines.radar.store import open_frames

START = datetime(2024, 6, 1, 12)
LATER = START + timedelta(minutes=5)
PIXELS = np.full((12, 16), 100, np.uint8)
HUGE = 60_000  # rows and columns: 3.6 GB at a byte a pixel
LIMITS = Limits(memory_mb=1024, file_mb=48, unpacked_mb=64)
MOST = LIMITS.unpacked_mb * MB
FRAME = (
    rf"too large: a frame of {HUGE * HUGE} pixels unpacks to {8 * HUGE * HUGE // MB + 1} MB, and max_unpacked_mb is 64"
)
SIDE = "too large: a frame of {} pixels; on a side are 65536 at most"
MEMORY = re.escape("too large: it takes more than 1024 MB of memory to decode (max_memory_mb)")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one good radar file, in a folder whose params.yaml has `LIMITS`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "WORKERS", 1)
    yaml = YAML()
    params = yaml.load(Path(__file__).parents[4] / "params.yaml")
    params["ingest_radar"] |= {f"max_{name}": value for name, value in vars(LIMITS).items()}
    yaml.dump(params, tmp_path / "params.yaml")
    folder = tmp_path / "in"
    folder.mkdir()
    write_odim(folder / name_of(START), PIXELS, START)
    return folder


def memory_of(pool: Decoders) -> dict[str, float]:
    """MB of address space and of memory that a pool's one worker has had at most."""
    status = pool.call(Path.read_text, (Path("/proc/self/status"),))
    assert isinstance(status, str)
    return {name: int(re.search(rf"{name}:\s*(\d+) kB", status)[1]) / 1024 for name in ("VmPeak", "VmHWM")}


def check(source: Path, bombs: dict[str, tuple[Callable[[Path], object], str]]) -> None:
    """Ingest good and bad: each bad one has its reason, the good one is in, and it was one worker throughout."""
    for name, (write, _) in bombs.items():
        write(source / name.partition("/")[0])
    assert sum(path.stat().st_blocks for path in source.rglob("*")) * 512 < 8 * MB * (1 + len(bombs))
    process = decoders(LIMITS).call(os.getpid, ())
    store = Path("out.zarr")
    done = CliRunner().invoke(app, ["ingest", str(source), str(store)])
    assert done.exit_code == 10 + len(bombs), done.output
    with tables_of(store)[0].open() as stream:
        reasons = {row["file"]: row["reason"] for row in csv.DictReader(stream)}
    wanted = {name: words for name, (_, words) in bombs.items()}
    unlike = {name: reasons.get(name) for name in wanted if not re.fullmatch(wanted[name], reasons.get(name, ""))}
    assert unlike == {}
    assert reasons.keys() == wanted.keys()
    assert open_frames(store).sizes["time"] == 1
    assert decoders(LIMITS).call(os.getpid, ()) == process, "none ended the worker"
    memory = memory_of(decoders(LIMITS))
    assert memory["VmHWM"] < memory["VmPeak"] <= LIMITS.memory_mb


def zeros(path: Path, size: int) -> None:
    """Make a file of zeros, which has no blocks."""
    with path.open("wb") as stream:
        stream.truncate(size)


def gzipped(path: Path, size: int, start: bytes = b"") -> None:
    """Write ``start`` and zeros as one stream of gzip."""
    packer = zlib.compressobj(1, wbits=31)
    with path.open("wb") as stream:
        stream.write(packer.compress(start))
        for _ in range(size // MB):
            stream.write(packer.compress(bytes(MB)))
        stream.write(packer.flush())


def npz(path: Path, member: Callable[[zipfile.ZipFile], None]) -> None:
    write_meteonet(path, np.zeros((1, 515, 784), np.int16), [LATER])
    kept = {name: content for name, content in members(path).items() if name != "data.npy"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
        member(archive)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def npy_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<i2", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def inflated(archive: zipfile.ZipFile) -> None:
    with archive.open("data.npy", "w") as stream:
        stream.write(npy_header((1, 515, 784)))
        for _ in range(MOST // MB):
            stream.write(bytes(MB))


def test_what_unpacks_to_more_than_may_be(source: Path) -> None:
    def bzip2(path: Path) -> None:
        path.write_bytes(bz2.compress(bytes(MB)) * (MOST // MB + 1))

    unpacked = r"too large: {} unpacks to {} MB, and max_unpacked_mb is 64"
    shape = "(40000, 515, 784)"
    check(
        source,
        {
            "file.h5": (lambda path: zeros(path, 3 << 30), "too large: 3072 MB, and max_file_mb is 48"),
            "one.gz": (lambda path: gzipped(path, MOST + MB), unpacked.format("it", 65)),
            "many.gz": (
                lambda path: path.write_bytes(gzip.compress(bytes(MB)) * (MOST // MB + 1)),
                unpacked.format("it", 65),
            ),
            "file.bz2": (bzip2, unpacked.format("it", 65)),
            "rainfall_inflated.npz": (lambda path: npz(path, inflated), unpacked.format("data.npy", 65)),
            # Its header says 32 GB, and numpy would take them before it looks for the numbers.
            "rainfall_header.npz": (
                lambda path: npz(path, lambda archive: archive.writestr("data.npy", npy_header((40000, 515, 784)))),
                re.escape(f"data are {shape} of int16, with 1 dates"),
            ),
        },
    )


def test_archives(source: Path) -> None:
    """A member is as large as it is, packed or not; a header of an archive may be one, too."""

    def tar(path: Path) -> None:
        with tarfile.open(path, "w:gz", compresslevel=1) as archive:
            member = tarfile.TarInfo("a.h5")
            member.size = 49 * MB
            archive.addfile(member, io.BytesIO(bytes(member.size)))

    def zipped(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.h5", "w") as stream:
            for _ in range(49):
                stream.write(bytes(MB))

    def header(path: Path) -> None:
        """Write a tar whose extended header takes 2 GB."""
        member = tarfile.TarInfo("x")
        member.size, member.type = 2 << 30, tarfile.XHDTYPE
        gzipped(path, 1400 * MB, member.tobuf(tarfile.USTAR_FORMAT))

    larger = "too large: 49 MB, and max_file_mb is 48"
    check(
        source,
        {"tar.tgz/a.h5": (tar, larger), "zip.zip/a.h5": (zipped, larger), "header.tgz": (header, MEMORY)},
    )


def odim(path: Path, shape: tuple[int, int], **layout: object) -> None:
    """Write an ODIM file of that many pixels, of which none is in it."""
    write_odim(path, PIXELS, LATER)
    with h5py.File(path, "r+") as file:
        del file["dataset1/data1/data"], file["dataset1/data1/quality1"]
        file.create_dataset("dataset1/data1/data", shape, np.uint8, **layout)
        file["where"].attrs["ysize"], file["where"].attrs["xsize"] = shape
        for name, pixels in (("xscale", 16 / shape[1]), ("yscale", 12 / shape[0])):
            file["where"].attrs[name] = 1000.0 * pixels


def test_hdf5(source: Path) -> None:
    def compressed(path: Path) -> None:
        """Write pixels that are there: a chunk of each is 60 MB, and 60 kB in the file."""
        odim(path, (HUGE, 1000), chunks=(HUGE, 1000), compression="gzip")
        with h5py.File(path, "r+") as file:
            file["dataset1/data1/data"].id.write_direct_chunk((0, 0), zlib.compress(bytes(HUGE * 1000)))

    def knmi(path: Path) -> None:
        write_knmi(path, np.zeros((1200, 1600), np.uint16), LATER)
        with h5py.File(path, "r+") as file:
            del file["image1/image_data"]
            file.create_dataset("image1/image_data", (HUGE, HUGE), np.uint16, chunks=(100, 100))
            geographic = file["geographic"].attrs
            geographic["geo_number_rows"] = geographic["geo_number_columns"] = np.array([HUGE])
            geographic["geo_row_offset"] = np.array([3650 * HUGE / 1200])
            geographic["geo_pixel_size_x"] = np.array([1600 / HUGE])
            geographic["geo_pixel_size_y"] = np.array([-1200 / HUGE])

    check(
        source,
        {
            "chunks.h5": (lambda path: odim(path, (HUGE, HUGE), chunks=(100, 100)), FRAME),
            "never.h5": (lambda path: odim(path, (HUGE, HUGE)), FRAME),
            "chunk.h5": (
                lambda path: odim(path, (12, 16), chunks=(HUGE, HUGE), maxshape=(None, None)),
                "too large: a chunk of /dataset1/data1/data unpacks to 3434 MB, and max_unpacked_mb is 64",
            ),
            "compressed.h5": (compressed, "too large: a frame of 60000000 pixels unpacks to 458 MB, .*"),
            "knmi.h5": (knmi, FRAME),
            "wide.h5": (lambda path: odim(path, (2, 70_000)), SIDE.format("2×70000")),
        },
    )


def test_netcdf_and_zarr(source: Path) -> None:
    (source / name_of(START)).unlink()
    cf_dataset(1).to_zarr(source / "good.zarr")

    def netcdf(path: Path, times: int, side: int, kind: str = "NETCDF4") -> None:
        with netCDF4.Dataset(path, "w", format=kind) as file:
            file.Conventions = "CF-1.11"
            for name, size in (("time", None), ("lat", side), ("lon", side)):
                file.createDimension(name, size)
                axis = file.createVariable(
                    name,
                    "f8",
                    (name,),
                    **({"chunksizes": (1024 if size is None else size,)} if kind == "NETCDF4" else {}),
                )
                axis.standard_name = {"time": "time", "lat": "latitude", "lon": "longitude"}[name]
                axis.units = {"time": "seconds since 2024-06-01", "lat": "degrees_north", "lon": "degrees_east"}[name]
                if name != "time" and side < 100:
                    axis[:] = 0.01 * np.arange(side)
            more = {"chunksizes": (1, min(side, 100), min(side, 100))} if kind == "NETCDF4" else {}
            rain = file.createVariable("rain", "f4", ("time", "lat", "lon"), **more)
            rain.standard_name, rain.units = "rainfall_rate", "mm h-1"
            file["time"][times - 1] = 0.0

    def classic(path: Path) -> None:
        """Write a file whose header says that it has two thousand million records."""
        netcdf(path, 1, 16, "NETCDF3_CLASSIC")
        content = path.read_bytes()
        path.write_bytes(content[:4] + struct.pack(">i", 2_000_000_000) + content[8:])

    def stored(path: Path, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], zarr_format: int = 3) -> None:
        cf_dataset(1).to_zarr(path, zarr_format=zarr_format, consolidated=False)
        group = zarr.open_group(path, mode="r+")
        attributes, kept = dict(group[name].attrs), group[name]
        names = {"dimension_names": kept.metadata.dimension_names} if zarr_format == 3 else {}
        group.create_array(
            name, shape=shape, chunks=chunks, dtype=kept.dtype, overwrite=True, attributes=attributes, **names
        )

    def frame(path: Path) -> None:
        stored(path, "rr", (1, HUGE, HUGE), (1, 100, 100))
        for name in ("lat", "lon"):
            group = zarr.open_group(path, mode="r+")
            attributes = dict(group[name].attrs)
            group.create_array(
                name, data=np.linspace(40, 41, HUGE), overwrite=True, attributes=attributes, dimension_names=[name]
            )

    def times(path: Path) -> None:
        stored(path, "rr", (1 << 32, 12, 16), (1, 12, 16))
        stored_time = zarr.open_group(path, mode="r+")["time"]
        assert isinstance(stored_time, zarr.Array)
        stored_time.resize((1 << 32,))

    def packed(path: Path) -> None:
        """Write a chunk that unpacks to more than its metadata say."""
        stored(path, "rr", (1, 12, 16), (1, 12, 16))
        chunk = path / "rr" / "c" / "0" / "0" / "0"
        chunk.parent.mkdir(parents=True, exist_ok=True)
        chunk.write_bytes(zstd_of_zeros(2 << 30))

    check(
        source,
        {
            "side.nc": (lambda path: netcdf(path, 1, HUGE), FRAME),
            "times.nc": (lambda path: netcdf(path, 1 << 30, 16), MEMORY),
            "classic.nc": (classic, MEMORY),
            "frame.zarr": (frame, FRAME),
            "times.zarr": (times, MEMORY),
            "chunk.zarr": (
                lambda path: stored(path, "rr", (1, 12, 16), (1, HUGE, HUGE)),
                "too large: a chunk of rr/zarr.json unpacks to 13733 MB, and max_unpacked_mb is 64",
            ),
            "chunk2.zarr": (
                lambda path: stored(path, "rr", (1, 12, 16), (1, HUGE, HUGE), 2),
                "too large: a chunk of rr/.zarray unpacks to 13733 MB, and max_unpacked_mb is 64",
            ),
            "packed.zarr": (packed, MEMORY),
        },
    )


def zstd_of_zeros(size: int) -> bytes:
    """Return a frame of Zstandard (RFC 8878) that says its size, of blocks that repeat one byte: 4 bytes for 128 kB."""
    block, blocks = 1 << 17, size >> 17
    head = b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + struct.pack("<Q", size)
    return head + b"".join(
        struct.pack("<I", (number == blocks - 1) | 1 << 1 | block << 3)[:3] + b"\0" for number in range(blocks)
    )


def test_pictures_and_text(source: Path) -> None:
    (source / name_of(START)).unlink()
    write_geotiff(source / "good.tif", np.ones((12, 16), np.uint8), START, nodata=255, units="mm/h")

    def tiff(path: Path, shape: tuple[int, int], side: int) -> None:
        """Write a grid like the good file's, in tiles that were never written."""
        profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "uint8"}
        grid = {"transform": rasterio.Affine(1000.0, 0.0, 0.0, 0.0, -1000.0, 0.0), "crs": LAEA, "nodata": 255}
        tiles = {"tiled": True, "blockxsize": side, "blockysize": side, "SPARSE_OK": "TRUE"}
        with rasterio.open(path, "w", **profile, **grid, **tiles) as file:
            file.update_tags(time=f"{LATER:%Y-%m-%dT%H:%M:%SZ}", units="mm/h")

    def gif(path: Path, where: int) -> None:
        """Write 65535×65535 as the size of the screen (byte 6), or of the picture in it."""
        content = bytearray(write_mch_gif(path, np.zeros((640, 710), np.uint8), LATER).read_bytes())
        at = 6 if where == 0 else content.index(struct.pack("<HH", 710, 640), 10)
        content[at : at + 4] = b"\xff" * 4
        path.write_bytes(content)

    def pgm(path: Path) -> None:
        path.write_bytes(write_fmi_pgm(path, PIXELS, LATER).read_bytes().replace(b"16 12\n", b"60000 60000\n"))

    def grib(path: Path) -> None:
        """Write its grid's numbers of columns and rows, bytes 31 to 38 of section 3, anew."""
        content = bytearray(write_mrms(path, np.zeros((12, 16)), LATER).read_bytes())
        at = content.index(struct.pack(">II", 16, 12))
        content[at : at + 8] = struct.pack(">II", HUGE, HUGE)
        path.write_bytes(content)

    def ascii_grid(path: Path) -> None:
        header = f"ncols {HUGE}\nnrows {HUGE}\nxllcorner 0\nyllcorner 0\ncellsize 1000\n"
        path.write_text(header + "0 0 0\n")

    picture = r"too large: Image size \(4294836225 pixels\) exceeds limit of .*"
    check(
        source,
        {
            "screen.gif": (lambda path: gif(path, 0), picture),
            "picture.gif": (lambda path: gif(path, 1), picture),
            "size.tif": (lambda path: tiff(path, (HUGE, HUGE), 256), FRAME),
            "wide.tif": (lambda path: tiff(path, (70_000, 2), 256), SIDE.format("70000×2")),
            "tile.tif": (lambda path: tiff(path, (12, 16), HUGE), MEMORY),
            "pixels.pgm": (pgm, FRAME),
            "grid.grib2": (grib, FRAME),
            "grid.asc": (ascii_grid, FRAME),
        },
    )


@pytest.mark.parametrize("shape", [(4400, 3800), (3500, 7000)])
def test_large_composites_are_within_the_limits(tmp_path: Path, shape: tuple[int, int]) -> None:
    """Europe's of OPERA, on 1 km, and MRMS of the United States."""
    pixels = np.zeros(shape, np.uint8)
    pixels[:, ::2] = 100
    if shape == (4400, 3800):
        path = write_odim(tmp_path / "opera.h5", pixels, START)
    else:
        path = write_mrms(tmp_path / "mrms.grib2", pixels, START)
    pool = Decoders(1)
    frame = pool.call(read_frame, (path, (200.0, 1.6)))
    assert frame.rain_rate.shape == shape
    assert (frame.rain_rate[:, 1::2] == 0).all()
    assert (frame.rain_rate[:, ::2] > 0).all()
    assert memory_of(pool)["VmPeak"] < Limits().memory_mb


def test_others_than_the_default_limits_hold(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.zeros((2000, 2000), np.float32), START, units="mm/h")
    for limits, words in (
        (Limits(file_mb=15), "too large: 16 MB, and max_file_mb is 15"),
        (Limits(unpacked_mb=30), "too large: a frame of 4000000 pixels unpacks to 31 MB, and max_unpacked_mb is 30"),
    ):
        failure = Decoders(1, limits=limits).call(read_frame, (path, (200.0, 1.6)))
        assert (failure.reason, failure.passing) == (words, True)
    assert Decoders(1).call(read_frame, (path, (200.0, 1.6))).rain_rate.shape == (2000, 2000)


def test_with_other_limits_a_file_that_was_too_large_is_taken(source: Path) -> None:
    big = write_odim(source / name_of(LATER), np.zeros((12, 16), np.uint8), LATER)
    with big.open("ab") as stream:
        stream.truncate(49 * MB)
    store = Path("out.zarr")
    for limit, status in ((48, 11), (50, 0)):
        text = re.sub(r"max_file_mb: \d+", f"max_file_mb: {limit}", Path("params.yaml").read_text())
        Path("params.yaml").write_text(text)
        assert CliRunner().invoke(app, ["ingest", str(source), str(store)]).exit_code == status
    assert open_frames(store).sizes["time"] == 2


def test_by_hand_the_same_limits_hold(source: Path) -> None:
    store = Path("out.zarr")
    assert CliRunner().invoke(app, ["ingest", str(source), str(store)]).exit_code == 0
    for path in (source / name_of(START), store / "rest"):
        with path.open("ab") as stream:
            stream.truncate(49 * MB)
    commands = ["replay", str(source), "inbox"], ["inspect", str(store)]
    refusals = [str(CliRunner().invoke(app, command).exception) for command in commands]
    assert refusals == [
        f"{source}: none of its files can be read",
        f"{store}: too large: 49 MB, and max_file_mb is 48",
    ]
    Path("params.yaml").write_text(re.sub(r"max_file_mb: \d+", "max_file_mb: 50", Path("params.yaml").read_text()))
    assert [CliRunner().invoke(app, command).exit_code for command in commands] == [0, 0]
