"""An exported store as others read it: the CF checker, mlcast's validator and dataset, GDAL, xarray."""

import shutil
import subprocess
import sys
import tracemalloc
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from archive import moving_cells, write_store
from typer.testing import CliRunner

import scs_model
from pipelines.cli import app
from pipelines.common.errors import UserError
from pipelines.common.rights import Rights
from pipelines.radar.export import export_store
from pipelines.radar.frame import Frame, packed
from pipelines.radar.grid import Grid
from pipelines.radar.shards import Shards, assemble
from pipelines.radar.store import open_frames, rows_of

SHAPE = (256, 260)
SHOWN = [0, 1, 2, 5, 6]  # of seven frames, 5 minutes apart
ROTATED = pyproj.CRS.from_cf(
    {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 39.25,
        "grid_north_pole_longitude": -162.0,
    }
)
DEGREES = {"left": 5.0, "top": 50.0, "dx": 0.02, "dy": 0.01, "shape": (12, 14)}
EXPORTS = ("plain.nc", "regular.nc", "plain.zarr", "regular.zarr")


def a_store(folder: Path, frames: list[Frame]) -> Path:
    """A store as ingestion writes it, of shards."""
    shards = Shards(folder / "shards")
    shards.make([packed(frame.rain_rate) for frame in frames], [("a", 0)])
    assemble(rows_of(frames), [shards.path([("a", 0)])], folder / "radar.zarr", Rights("CC-BY-NC-4.0", "Source: us"))
    return folder / "radar.zarr"


def scs(*words: object) -> str:
    done = CliRunner().invoke(app, ["export", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Amounts of 5 minutes in hundredths, with a gap of two frames; the first pixel's centre is at (0, 0)."""
    made = moving_cells("2024-06-01T12:00", 7, shape=SHAPE)
    grid = Grid.from_edges(made[0].grid.crs, left=-500.0, top=500.0, dx=1000.0, dy=1000.0, shape=SHAPE)
    common = {"grid": grid, "time_is": "end", "interval_s": 300, "z_r": None}
    return [replace(made[i], rain_rate=np.round(made[i].rain_rate, 2), **common) for i in SHOWN]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, frames: list[Frame]) -> Path:
    """The folder of all `EXPORTS`, by the command."""
    folder = tmp_path_factory.mktemp("exported")
    store = a_store(folder, frames)
    for name in EXPORTS:
        words = [word for word in ("--zarr", "--regular") if word[2:] in name]
        said = scs(store, folder / name, *words)
        assert f"{name}: 5 frames{' and 2 missing' if 'regular' in name else ''}\n" in said
        assert "licence: CC-BY-NC-4.0; Source: us; not for commercial use" in said
    return folder


@pytest.mark.parametrize("name", EXPORTS)
def test_numbers_are_the_frames(exported: Path, frames: list[Frame], name: str) -> None:
    with xr.open_dataset(exported / name, decode_coords="all") as dataset:
        dataset.load()
    clock = np.datetime64("2024-06-01T12:00") + np.arange(7) * np.timedelta64(5, "m")
    shown = SHOWN if "regular" in name else range(5)
    np.testing.assert_array_equal(dataset["time"], clock if "regular" in name else clock[SHOWN])
    wanted = np.full((len(dataset["time"]), *SHAPE), np.nan, np.float32)
    wanted[shown] = [frame.rain_rate for frame in frames]
    np.testing.assert_allclose(dataset["rainfall_flux"], wanted, rtol=1e-6)
    np.testing.assert_array_equal(np.diff(dataset["time_bounds"])[:, 0], np.timedelta64(300, "s"))
    np.testing.assert_array_equal(dataset["time_bounds"][:, 1], dataset["time"])
    assert [dataset["source_sha256"].to_numpy()[i] for i in shown] == [frame.sha256 for frame in frames]
    if "regular" in name:
        assert dataset["source_file"].to_numpy()[[3, 4]].tolist() == ["", ""]
        assert "missing_times" not in dataset.variables
    else:
        np.testing.assert_array_equal(dataset["missing_times"], clock[[3, 4]])
    np.testing.assert_array_equal(dataset["x"], frames[0].grid.x)
    np.testing.assert_array_equal(dataset["y"], frames[0].grid.y)
    assert (dataset.attrs["license"], dataset.attrs["attribution"]) == ("CC-BY-NC-4.0", "Source: us")


def test_the_cf_checker_has_nothing_to_say(exported: Path, tmp_path: Path) -> None:
    files = [exported / "plain.nc", exported / "regular.nc"]
    for name, crs in {"degrees": pyproj.CRS.from_epsg(4326), "rotated": ROTATED}.items():
        (tmp_path / name).mkdir()
        first = moving_cells("2024-06-01T12:00", 1, shape=DEGREES["shape"])[0]
        store = a_store(tmp_path / name, [replace(first, grid=Grid.from_edges(crs, **DEGREES))])
        files.append(tmp_path / f"{name}.nc")
        export_store(store, files[-1], regular=True)
    with netCDF4.Dataset(files[-1]) as rotated:
        assert rotated["x"].standard_name == "grid_longitude"
        assert rotated["lon"].standard_name == "longitude"
    command = [Path(sys.executable).with_name("compliance-checker"), "--test", "cf:1.11", "--criteria", "strict"]
    # CF 1.6's check of packed data, which knows no unsigned bytes: 1.11 allows them, and its own check of them runs.
    command += ["--skip-checks", "check_packed_data"]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.stdout.count("All tests passed!") == len(files), done.stdout


@pytest.mark.parametrize("name", ["plain.zarr", pytest.param("regular.zarr", marks=pytest.mark.full)])
def test_mlcast_validates_all_but_three_years(exported: Path, name: str) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("mlcast.validate_dataset"),
            *("source_data", "radar_precipitation", exported / name),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "250", "PATH": "/usr/bin:/bin", "HOME": str(exported), "PYTHONUTF8": "1"},
    )
    rows = [line for line in done.stdout.splitlines() if "✅" in line or "❌" in line]
    assert len(rows) > 20, done.stderr
    assert [row for row in rows if "❌" in row and "Minimum 3-year coverage" not in row] == []


@pytest.mark.parametrize("name", ["regular.nc", "regular.zarr"])
def test_gdal_reads_it(exported: Path, frames: list[Frame], name: str) -> None:
    netcdf = name.endswith(".nc")
    address = f"netcdf:{exported / name}:rainfall_flux" if netcdf else f'ZARR:"{exported / name}":/rainfall_flux'
    with rasterio.open(address) as raster:
        assert raster.count == 7
        assert raster.transform.to_gdal() == (-500.0, 1000.0, 0.0, 500.0, 0.0, -1000.0)
        assert pyproj.CRS.from_wkt(raster.crs.to_wkt()).equals(frames[0].grid.crs, ignore_axis_order=True)
        values = raster.read(6, masked=True) * raster.scales[5]  # the fourth of those that are there
        assert raster.read(4, masked=True).mask.all()
    wanted = np.ma.masked_invalid(frames[3].rain_rate)
    np.testing.assert_array_equal(np.ma.getmaskarray(values), np.ma.getmaskarray(wanted))
    np.testing.assert_allclose(values, wanted, rtol=1e-6)


def test_no_more_than_shards_are_in_memory(tmp_path: Path) -> None:
    """Ten shards of 1 MB."""
    made = moving_cells("2024-06-01T12:00", 32, shape=(128, 128))
    shards = Shards(tmp_path / "shards")
    shards.make([packed(frame.rain_rate) for frame in made], [("a", 0)])
    later = np.arange(10)[:, None] * np.timedelta64(3, "h")
    frames = [replace(frame, time=frame.time + by) for (by,) in later for frame in made]
    assemble(rows_of(frames), [shards.path([("a", 0)])] * 10, tmp_path / "radar.zarr", Rights())
    export_store(tmp_path / "radar.zarr", tmp_path / "once.nc")  # libraries are loaded, caches filled
    tracemalloc.start()
    try:
        assert "320 frames and 36 missing" in export_store(tmp_path / "radar.zarr", tmp_path / "a.nc", regular=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8e6


def test_what_cannot_be_exported_is_one_line_and_nothing_is_written(tmp_path: Path, frames: list[Frame]) -> None:
    store = a_store(tmp_path, frames)
    before = sorted(path.name for path in tmp_path.iterdir())
    irregular = write_store(tmp_path / "b" / "irregular.zarr", [replace(frames[0], time=frames[0].time - 7), *frames])
    (tmp_path / "b" / "there.nc").write_text("mine")
    whole = open_frames(store).drop_encoding()
    whole.to_zarr(tmp_path / "b" / "floats.zarr", zarr_format=3, consolidated=False)
    packing = {"dtype": "uint16", "scale_factor": 0.01, "_FillValue": np.uint16(65535)}
    for name, rows, other in (
        ("none", slice(None), {"_FillValue": np.uint16(0), "add_offset": -0.01}),
        ("offset", slice(None), {"add_offset": -0.01}),
        ("south", slice(None, None, -1), {}),
    ):
        whole.isel(y=rows).to_zarr(
            tmp_path / "b" / f"{name}.zarr",
            zarr_format=3,
            consolidated=False,
            encoding={"rainfall_flux": packing | other},
        )
    write_store(tmp_path / "b" / "nameless.zarr", frames)
    shutil.rmtree(tmp_path / "b" / "nameless.zarr" / "source_file")
    for source, name, words, reason in (
        (store, "a.zarr", {}, r"a Zarr store wants --zarr"),
        (store, "a.nc", {"as_zarr": True}, r"a Zarr store wants --zarr"),
        (store, "b/there.nc", {}, r"there\.nc: it is there already"),
        (store, "radar.zarr", {"as_zarr": True}, r"it is there already"),
        (store, "radar.zarr/a.nc", {}, r"it lies in the store itself"),
        (tmp_path / "none.zarr", "a.nc", {}, r"none\.zarr: not a store of frames: it isn't there"),
        (tmp_path / "b" / "floats.zarr", "a.nc", {}, r"floats\.zarr: its rain isn't packed as ingestion does it"),
        (tmp_path / "b" / "none.zarr", "a.nc", {}, r"none\.zarr: its rain isn't packed as ingestion does it"),
        (tmp_path / "b" / "offset.zarr", "a.nc", {}, r"offset\.zarr: its rain isn't packed as ingestion does it"),
        (tmp_path / "b" / "south.zarr", "a.nc", {}, r"south\.zarr: y must run north to south"),
        (
            tmp_path / "b" / "nameless.zarr",
            "a.nc",
            {"regular": True},
            r"nameless\.zarr to .*a\.nc: No variable named 'source_file'",
        ),
        (irregular, "a.nc", {"regular": True}, r"irregular\.zarr: its times are on no regular clock"),
    ):
        with pytest.raises(UserError, match=reason) as error:
            export_store(source, tmp_path / name, **words)
        assert "\n" not in str(error.value)
    shard = store / "rainfall_flux" / "c" / "0" / "0" / "0"
    shard.unlink()  # it is linked
    shard.write_bytes(b"broken" * 999)
    for name in ("a.nc", "a.zarr"):
        with pytest.raises(UserError, match=rf"radar\.zarr to .*{name}: ") as error:
            export_store(store, tmp_path / name, as_zarr=name == "a.zarr")
        assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "b"])
    assert (tmp_path / "b" / "there.nc").read_text() == "mine"


MLCAST = """
import sys
import numpy as np
import torch
from mlcast.data import SourceDataDataModule, SourceDataPrecomputedSamplingDataset
module = SourceDataDataModule(
    lambda **subset: SourceDataPrecomputedSamplingDataset(
        sys.argv[1], sys.argv[2], ["rainfall_flux"], 2, 5, return_mask=True, width=64, height=32, time_depth=7, **subset
    ),
    {"time": dict.fromkeys(("train", "val", "test"), ("2024-06-01T12:00", "2024-06-01T12:30"))},
    batch_size=1,
)
module.setup("fit")
module.train_dataset.augment = False
"""
SAMPLE = """
sample = next(iter(module.train_dataloader()))
np.savez(sys.argv[3], **{name: value.numpy() for name, value in sample.items()})
"""
TRAINING = """
import types
import pytorch_lightning as pl
# For pictures in TensorBoard, which aren't asked for; PyPI's is of CUDA and has no place beside a torch without.
sys.modules["torchvision"] = types.ModuleType("torchvision")
from mlcast.nowcasting_module import NowcastLightningModule
from scs_model import EncoderForecaster

class Members(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, steps, ensemble_size=1):
        return self.network(x, steps).expand(-1, -1, ensemble_size, -1, -1)

torch.manual_seed(0)
network = EncoderForecaster("scs", [8], kernel=3, downsample=2, leads=5)
adam = lambda parameters: torch.optim.Adam(parameters, 1e-2)
nowcast = NowcastLightningModule(Members(network), optimizer=adam, masked_loss=True)
trainer = pl.Trainer(max_steps=40, accelerator="cpu", logger=False, enable_checkpointing=False)
before = trainer.validate(nowcast, module)[0]["val_loss"]
trainer.fit(nowcast, datamodule=module)
np.savez(sys.argv[3], before=before, after=trainer.validate(nowcast, module)[0]["val_loss"])
"""


@pytest.fixture(scope="module")
def mlcast(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Run code behind `MLCAST` in an environment of mlcast's, but for the libraries that it shares with ours.

    Torch alone has 200 MB.
    """
    folder = tmp_path_factory.mktemp("mlcast")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    (own,) = (folder / "venv").glob("lib/python*/site-packages")
    (own / "ours.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")))
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "mlcast==0.1.0"], check=True)
    subprocess.run([*pip, "cf-xarray==0.11.1", "beartype", "jaxtyping==0.3.11", "loguru"], check=True)
    (folder / "samples.csv").write_text("t,x,y\n0,2,1\n")

    def run(code: str) -> Any:
        arguments = [exported / "regular.zarr", folder / "samples.csv", folder / "found.npz"]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(scs_model.__file__).parents[1])}
        subprocess.run([python, "-c", MLCAST + code, *arguments], check=True, cwd=folder, env=environment)
        return np.load(folder / "found.npz")

    return run


@pytest.mark.full
def test_mlcast_reads_training_samples(mlcast: Callable[[str], Any], frames: list[Frame]) -> None:
    with mlcast(SAMPLE) as sample:
        found = np.concatenate([sample["input"][0, :, 0], sample["target"][0, :, 0]])
        mask = sample["target_mask"][0, :, 0]
    assert found.shape == (7, 32, 64)
    rain = np.full((7, 32, 64), np.nan)
    rain[SHOWN] = [frame.rain_rate[1:33, 2:66] for frame in frames]
    with np.errstate(divide="ignore"):
        dbz = 10 * np.log10(200 * rain**1.6)  # mlcast: Marshall and Palmer, 0 to 60 dBZ onto -1 to 1, unknown is -1
    np.testing.assert_allclose(found, np.where(np.isnan(rain), -1, np.clip(dbz, 0, 60) / 30 - 1), atol=1e-5)
    np.testing.assert_array_equal(mask, np.isfinite(rain[2:]))
    assert found.max() > 0  # 30 dBZ


@pytest.mark.full
def test_a_network_of_scs_trains_in_mlcasts_trainer(mlcast: Callable[[str], Any]) -> None:
    """It starts as persistence. To validate, mlcast wants ten members: of a deterministic network, equal ones."""
    with mlcast(TRAINING) as losses:
        assert losses["after"] < 0.7 * losses["before"]
