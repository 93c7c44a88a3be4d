"""A cycle's files, as GDAL, xarray and a viewer of pictures read them; all or none."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from archive import moving_cells
from domains import SIMULATED, domain_in
from geojson import box, feature, written
from matplotlib.image import imread
from PIL import Image, ImageSequence
from small_model import loaded, probabilistic, untrained

from pipelines.common.errors import UnreadableFile
from pipelines.nowcast.methods.network import NetworkForecaster
from pipelines.nowcast.registered_model import LoadedModel
from pipelines.operation.forecast import forecast
from pipelines.operation.inputs import Source
from pipelines.operation.products.animation import MapSeries
from pipelines.operation.products.attributes import ForecastAttributes
from pipelines.operation.products.dataset import PROBABILITY
from pipelines.operation.products.graticule import draw_graticule
from pipelines.operation.products.latest import describe, read_latest, update_latest
from pipelines.operation.products.names import ANIMATION, COGS, MAPS, NETCDF, PICTURE, PROBABILITIES, ZARR
from pipelines.operation.products.probability_maps import SCALE, in_words
from pipelines.operation.products.publish import publish
from pipelines.operation.products.published import read_published
from pipelines.params.operation import Members
from pipelines.radar.frame import Frame
from pipelines.radar.grid import Grid
from pipelines.radar.maps import COLOURS
from pipelines.radar.readers.read import read_header

POLICY = SIMULATED.policy
SHAPE = (600, 530)  # more than a tile each way
FMI = "+proj=stere +lat_0=90 +lon_0=25 +lat_ts=60 +R=6371288 +x_0=380886.31 +y_0=3395677.92 +units=m +no_defs"
FRAMES = moving_cells("2024-06-01T23:40", 4, shape=SHAPE, speed=(6.0, 3.0))


PERSISTENCE = loaded("persistence")


def made(
    frames: list[Frame], minutes: int = 60, model: LoadedModel = PERSISTENCE, **asked: Any
) -> tuple[xr.Dataset, list[Frame]]:
    by_time = {frame.time: frame for frame in frames}
    source = Source("radar", np.array(list(by_time)), by_time.__getitem__)
    return forecast(source, lambda: model, POLICY, minutes=minutes, **asked)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published cycle of two hours' accumulations, with a stand-in."""
    folder = tmp_path_factory.mktemp("out") / "20240601T235500Z"
    (folder.parent / ".20240601T225500Z.99999999.partial").mkdir()  # of a run that was killed
    publish(*made([FRAMES[0], FRAMES[1], FRAMES[3]]), folder)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_files_of_a_cycle(folder: Path) -> None:
    assert names(folder) == sorted([NETCDF, ZARR, PICTURE, ANIMATION, COGS, MAPS])
    assert names(folder.parent) == [folder.name]
    minutes = [f"20240602T00{m:02d}00Z" for m in range(0, 60, 5)]
    amounts = [("30min", minutes[5]), ("30min", minutes[11]), ("60min", minutes[11])]
    assert names(folder / COGS) == sorted(
        [f"rainfall_flux_{m}.tif" for m in minutes] + [f"rainfall_amount_{length}_{m}.tif" for length, m in amounts]
    )
    observed = [f"observed_20240601T23{m}00Z.png" for m in (45, 55)]
    assert names(folder / MAPS) == sorted(observed + [f"forecast_{m}.png" for m in minutes])


def test_no_product_is_taken_for_an_observation(folder: Path) -> None:
    for path in (*(folder / COGS).glob("rainfall_flux_*.tif"), folder / NETCDF, folder / ZARR):
        with pytest.raises(UnreadableFile, match="a nowcast of 23:55 for 00:"):
            read_header(path)


def test_with_probabilities_the_other_products_are_of_the_field(tmp_path: Path) -> None:
    small = moving_cells("2024-06-01T23:40", 4, shape=(40, 50))
    areas = written(tmp_path / "areas.geojson", feature("all", box(10.05, 54.7, 10.5, 54.95)))
    dataset, observed = made(small, 10, probabilistic(), areas=areas)
    publish(dataset, observed, tmp_path / "out")
    assert len(names(tmp_path / "out" / COGS)) == 2 * 2 and len(names(tmp_path / "out" / MAPS)) == 3 + 2
    for path in (tmp_path / "out" / NETCDF, tmp_path / "out" / ZARR):
        with pytest.raises(UnreadableFile, match="a nowcast of 23:55 for 00:"):  # and threshold is no rain
            read_header(path)
    for name in (f"netcdf:{tmp_path}/out/{NETCDF}:rainfall_flux", f'ZARR:"{tmp_path}/out/{ZARR}":/rainfall_flux'):
        with rasterio.open(name) as file:
            np.testing.assert_array_equal(file.read(2), dataset["rainfall_flux"][1])
    with rasterio.open(f"netcdf:{tmp_path}/out/{NETCDF}:{PROBABILITY}") as file:
        assert (file.count, file.nodata, file.scales[0]) == (2 * 3, 255, pytest.approx(1 / 250))
        packed = file.read([4, 5, 6])
    with rasterio.open(tmp_path / "out" / COGS / f"{PROBABILITY}_20240602T000500Z.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (file.count, file.nodata, file.scales) == (3, 255, (pytest.approx(1 / 250),) * 3)
        assert [text.split(": ")[1] for text in file.descriptions] == [
            f"rain rate that is reached {rate} kg m-2 h-1" for rate in ("0.1", "1", "5")
        ]
        np.testing.assert_array_equal(file.read(), packed)
    said = describe(read_published(tmp_path / "out"))["files"]
    assert said["probabilities"] == "out/probabilities.png" and (tmp_path / said["probabilities"]).exists()
    assert [Path(one["file"]).name for one in said["geotiffs"][PROBABILITY]] == names(tmp_path / "out" / COGS)[2:4]
    assert {"areas_csv", "areas_json"} <= said.keys() and "amounts" not in said, "of members, and there are none"
    publish(*made(small, 30, probabilistic(), members=Members(count=3)), tmp_path / "more")
    said = describe(read_published(tmp_path / "more"))["files"]
    assert "areas_csv" not in said and imread(tmp_path / said["amounts"]).shape[0] > 200


def test_what_nobody_wants_is_left_out(tmp_path: Path) -> None:
    publish(
        *made(moving_cells("2024-06-01T23:40", 4, shape=(40, 50)), 10), tmp_path / "out", ["zarr", "geotiffs", "maps"]
    )
    assert names(tmp_path / "out") == [NETCDF, PICTURE]
    files = describe(read_published(tmp_path / "out"), ["zarr", "geotiffs", "maps"])["files"]
    assert files == {"netcdf": f"out/{NETCDF}", "picture": f"out/{PICTURE}", "maps": [], "geotiffs": {}}


def test_maps_of_probabilities_are_coloured_by_tenths_and_never_say_none_or_all(tmp_path: Path) -> None:
    small = moving_cells("2024-06-01T23:40", 4, shape=(96, 128), speed=(0.0, 0.0))
    dataset, observed = made(small, 10, probabilistic())
    given = np.full(dataset[PROBABILITY].shape, 0.02, np.float32)
    given[:, :, :24], given[:, :, 24:48], given[:, :, 48:72] = 0.3, 0.97, np.nan
    dataset[PROBABILITY].data = given
    publish(dataset, observed, tmp_path / "out")
    picture = np.round(255 * imread(tmp_path / "out" / PROBABILITIES)[..., :3]).astype(int)
    third = np.array(SCALE.colours(2, bytes=True)[:3], int)
    bar = picture.shape[0] * 85 // 100
    counts = [np.all(np.abs(picture[:bar] - one) < 3, axis=-1).sum() for one in (third, (0x12, 0, 0x1A), (0xD9,) * 3)]
    assert counts == pytest.approx([counts[0]] * 3, rel=0.1), "a quarter of the grid each"
    assert counts[0] > 0.1 * picture.size / 3


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.0, "fewer than 1 of 20"), (0.049, "fewer than 1 of 20"), (0.05, "1 of 10"), (0.3, "3 of 10"),
     (0.349, "3 of 10"), (0.35, "4 of 10"), (0.95, "9 of 10"),
     (0.951, "more than 19 of 20"), (1.0, "more than 19 of 20")],
)  # fmt: skip
def test_a_probability_is_counted(probability: float, words: str) -> None:
    assert in_words(probability) == f"in {words} such forecasts"


def test_every_geotiff_is_a_cog_that_says_the_same_as_the_netcdf(folder: Path) -> None:
    with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as opened:
        dataset = opened.load()
    for path in (folder / COGS).iterdir():
        name, _, stamp = path.stem.rpartition("_")
        time = np.datetime64(f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:15]}")
        axis = {"rainfall_flux": "time"}.get(name, name.replace("rainfall_amount", "time"))
        expected = dataset[name][int(np.flatnonzero(dataset[axis].to_numpy() == time)[0])]
        with rasterio.open(path) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.profile["tiled"] and file.block_shapes == [(512, 512)]
            assert file.overviews(1) == [2]
            assert np.isnan(file.nodata)
            assert tuple(file.bounds) == (0.0, -1000.0 * SHAPE[0], 1000.0 * SHAPE[1], 0.0)
            assert pyproj.CRS.from_wkt(file.crs.to_wkt()).to_dict() == FRAMES[0].grid.crs.to_dict()
            np.testing.assert_array_equal(file.read(1), expected.to_numpy())
            tags = file.tags()
            assert tags["valid_time"] == f"{time}Z"
            assert tags["forecast_reference_time"] == "2024-06-01T23:55:00Z"
            assert (tags["units"], tags["fallback"]) == (expected.attrs["units"], "none")
            assert json.loads(tags["missing_frames"])[0]["time"] == "2024-06-01T23:50:00"
        with rasterio.open(path, OVERVIEW_LEVEL=0) as file:
            half = file.read(1)
        block = expected.to_numpy()[100:102, 200:202]
        assert half[50, 100] == pytest.approx(block.mean(), rel=1e-5)


def test_gdal_reads_the_netcdf_and_the_zarr(folder: Path) -> None:
    with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as dataset:
        expected = dataset["rainfall_flux"].to_numpy()
    with rasterio.open(f"netcdf:{folder / NETCDF}:rainfall_flux") as file:
        assert (file.count, file.crs is not None) == (12, True)
        np.testing.assert_array_equal(file.read(3), expected[2])
        assert tuple(file.bounds) == pytest.approx((0.0, -1000.0 * SHAPE[0], 1000.0 * SHAPE[1], 0.0))
    with rasterio.open(f'ZARR:"{folder / ZARR}":/rainfall_flux') as file:
        np.testing.assert_array_equal(file.read(3), expected[2])
    with rasterio.open(f'ZARR:"{folder / ZARR}":/rainfall_amount_60min') as file:
        assert file.read(1).shape == SHAPE


@pytest.mark.parametrize("crs", [FMI, "EPSG:4326", "EPSG:28992", "EPSG:21781"])
def test_a_geotiff_lies_where_the_frames_do(tmp_path: Path, crs: str) -> None:
    projection = pyproj.CRS.from_user_input(crs)
    dx = 1000.0 if projection.is_projected else 0.02
    left, top = (100 * dx, 900 * dx) if projection.is_projected else (5.0, 52.0)
    grid = Grid.from_edges(projection, left=left, top=top, dx=dx, dy=dx, shape=(40, 50))
    small = moving_cells("2024-06-01T12:00", 3, shape=(40, 50))
    publish(*made([replace(frame, grid=grid) for frame in small], minutes=5), tmp_path / "out")
    (path,) = (tmp_path / "out" / COGS).iterdir()
    with rasterio.open(path) as file:
        found = pyproj.CRS.from_wkt(file.crs.to_wkt())
        row, column = 7, 31
        x, y = file.xy(row, column)
    assert (x, y) == pytest.approx((grid.x[column], grid.y[row]))
    to_wgs84 = [
        pyproj.Transformer.from_crs(one, "EPSG:4326", always_xy=True).transform(x, y) for one in (found, projection)
    ]
    assert to_wgs84[0] == pytest.approx(to_wgs84[1], abs=1e-6)


def colour(text: str) -> tuple[int, ...]:
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def test_maps_are_coloured_by_the_scale_and_make_the_animation(folder: Path) -> None:
    observed = sorted((folder / MAPS).glob("observed_*.png"))
    ahead = sorted((folder / MAPS).glob("forecast_*.png"))
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in (*observed, *ahead)]
    with Image.open(folder / ANIMATION) as animation:
        shown = [
            (np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(animation)
        ]
    assert len(shown) == len(pictures) == 14
    for (frame, _), picture in zip(shown, pictures, strict=True):
        np.testing.assert_array_equal(frame, picture)
    assert [duration for _, duration in shown] == [350, 1400, *[350] * 11, 1400]
    # Rain of 1 to 2 mm/h takes the share of the picture's map that it has of the grid, and so do others.
    newest, shown_map = FRAMES[3].rain_rate, pictures[1][:, :-100]  # without the scale
    whole = sum(np.all(shown_map == colour(one), axis=-1).sum() for one in COLOURS[2:6])
    for at, (low, high) in {2: (1, 2), 3: (2, 5), 4: (5, 10)}.items():
        share = ((newest >= low) & (newest < high)).sum() / ((newest >= 1) & (newest < 20)).sum()
        assert np.all(shown_map == colour(COLOURS[at]), axis=-1).sum() / whole == pytest.approx(share, abs=0.05)
    # The badge of what is observed isn't that of a forecast.
    assert not np.array_equal(pictures[0][40:75], pictures[2][40:75])


def test_where_rain_comes_from_outside_every_product_says_not_known(tmp_path: Path) -> None:
    """Rain goes 3 columns east a frame: after an hour nobody has seen what comes to 36 columns in the west."""
    frames = moving_cells("2024-06-01T23:40", 4, shape=(96, 128), speed=(3.0, 0.0))
    model = replace(loaded("persistence"), forecaster=NetworkForecaster(untrained(), 4))
    publish(*made(frames, model=model), tmp_path / "out")
    with xr.open_dataset(tmp_path / "out" / NETCDF, decode_timedelta=False) as dataset:
        rain = dataset["rainfall_flux"].to_numpy()
        amount = dataset["rainfall_amount_60min"].to_numpy()[0]
    unknown = np.isnan(rain)
    for lead in (4, 8, 12):
        assert unknown[lead - 1, :, : 2 * lead].all() and not unknown[lead - 1, 20:-20, 4 * lead :].any()
    np.testing.assert_array_equal(np.isnan(amount), unknown.any(axis=0) | np.isnan(frames[-1].rain_rate))
    with rasterio.open(tmp_path / "out" / COGS / "rainfall_flux_20240602T005500Z.tif") as file:
        np.testing.assert_array_equal(file.read_masks(1) == 0, unknown[11])
    with rasterio.open(tmp_path / "out" / COGS / "rainfall_amount_60min_20240602T005500Z.tif") as file:
        np.testing.assert_array_equal(file.read_masks(1) == 0, np.isnan(amount))
    grey = []
    for stamp in ("20240602T001500Z", "20240602T005500Z"):
        picture = np.asarray(Image.open(tmp_path / "out" / MAPS / f"forecast_{stamp}.png").convert("RGB"))
        grey.append(np.all(picture[90:-115, 60:-100] == colour("#d9d9d9"), axis=-1).mean())
    assert grey == pytest.approx(unknown[[3, 11]].mean(axis=(1, 2)), abs=0.02)
    glance = np.round(255 * imread(tmp_path / "out" / PICTURE)[..., :3])
    greys = [np.all(part == colour("#d9d9d9"), axis=-1).sum() for part in np.array_split(glance, 5, axis=1)]
    assert greys == sorted(greys) and greys[4] > 20 * greys[0]


def test_the_graticule_lies_where_pyproj_says() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    extent = (0.0, 760_000.0, 0.0, 1_226_000.0)
    lines = draw_graticule(axes, pyproj.CRS.from_proj4(FMI), extent)
    lonlat = pyproj.Proj(FMI)
    levels = []
    for line in lines.get_segments():
        lon, lat = lonlat(line[:, 0], line[:, 1], inverse=True)
        # One of the two is the same all along, to what lies between 60 points each way.
        across, level = min((np.ptp(one), one.mean()) for one in (lon, lat))
        assert across < 0.02
        levels.append(round(level, 1))
    assert {58, 60, 62, 64, 66, 68} <= set(levels) and {20, 25, 30} <= set(levels)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["20°E", "25°E", "30°E"]
    for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
        lat = lonlat(0.0, place, inverse=True)[1]
        assert f"{lat:.0f}°N" == label.get_text() and abs(lat - round(lat)) < 0.01


@pytest.mark.parametrize("minutes", [5, 30])
def test_the_picture_has_a_map_for_each_time_shown(tmp_path: Path, minutes: int) -> None:
    small = moving_cells("2024-06-01T23:40", 4, shape=(40, 50))
    publish(*made(small, minutes), tmp_path / "forecast")
    picture = imread(tmp_path / "forecast" / PICTURE)[..., :3]
    tall, wide = picture.shape[:2]
    maps = min(minutes // 5, 4) + 1
    assert wide == pytest.approx(maps * 320, rel=0.15)
    assert tall < 600
    blue = np.array(colour(COLOURS[2])) / 255  # 1 to 2 mm/h
    shown = (np.abs(picture - blue).max(axis=-1) < 0.01).any(axis=0)
    assert all(part.any() for part in np.array_split(shown, maps))


@pytest.mark.parametrize("shape", [(30, 200), (200, 30), (60, 60)])
def test_maps_of_any_shape_fit_their_picture(shape: tuple[int, int]) -> None:
    (frame,) = moving_cells("2024-06-01T12:00", 1, shape=shape)
    later = frame.time + np.timedelta64(300, "s")
    below = []
    dataset, _ = made(moving_cells("2024-06-01T11:50", 3, shape=shape), minutes=5)
    attributes = ForecastAttributes.model_validate(dataset.attrs)
    for fallback in (None, "extrapolation: no champion"):
        of_map = attributes.model_copy(update={"fallback": fallback})
        picture = MapSeries(frame.grid, [frame.time, later], frame.time, of_map).draw(frame.rain_rate, later)
        assert 500 < picture.shape[0] < 1100 and 500 < picture.shape[1] < 1100
        red = np.abs(picture[-36:].astype(int) - colour("#b71c1c")).max(axis=-1) < 40
        below.append(red.sum())
    assert below[0] == 0 and below[1] > 50, "a warning in red"


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    small = moving_cells("2024-06-01T23:40", 4, shape=(40, 50))
    dataset, observed = made(small, 10)
    broken = [*observed[:-1], replace(observed[-1], rain_rate=np.zeros(3, np.float32))]  # can't be drawn
    with pytest.raises(IndexError):
        publish(dataset, broken, tmp_path / "new" / "forecast")
    assert list((tmp_path / "new").iterdir()) == []

    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in (tmp_path / "forecast").rglob("*") if path.is_file()}

    publish(dataset, observed, tmp_path / "forecast")
    before = content()
    with pytest.raises(IndexError):
        publish(made(small, 5)[0], broken, tmp_path / "forecast")
    assert content() == before
    assert names(tmp_path) == ["forecast", "new"]
    publish(*made(small, 5), tmp_path / "forecast")
    with xr.open_dataset(tmp_path / "forecast" / NETCDF, decode_timedelta=False) as opened:
        assert opened.sizes["lead_time"] == 1


def test_latest_json_says_where_everything_is(folder: Path) -> None:
    out = folder.parent
    domain = domain_in(out, out=out)
    update_latest(domain, forecast=describe(read_published(folder)), alarms={"fallback": "why"})
    latest = json.loads((out / "latest.json").read_text())
    said = latest["forecast"]
    assert (latest["domain"], said["folder"], said["reference_time"]) == ("here", folder.name, "2024-06-01T23:55:00Z")
    assert (said["model_version"], said["fallback"], said["policy"]["max_missing"]) == ("7", "none", 1)
    assert [one["time"] for one in said["missing_frames"]] == ["2024-06-01T23:50:00"]
    files = said["files"]
    flux = files["geotiffs"]["rainfall_flux"]
    assert [one["valid_time"] for one in flux][:2] == ["2024-06-02T00:00:00Z", "2024-06-02T00:05:00Z"]
    named = [files[kind] for kind in ("netcdf", "zarr", "picture", "animation")] + files["maps"]
    named += [one["file"] for of_field in files["geotiffs"].values() for one in of_field]
    there = [path for path in folder.rglob("*") if path.name == ZARR or (path.is_file() and ZARR not in str(path))]
    assert sorted(named) == sorted(path.relative_to(out).as_posix() for path in there)
    assert [Path(one).name.split("_")[0] for one in files["maps"]] == ["observed"] * 2 + ["forecast"] * 12
    # What is not given stays; an alarm keeps the time that it is on since.
    since = latest["alarms"][0]["since"]
    update_latest(domain, alarms={"fallback": "still", "stale-input": None})
    assert read_latest(out)["forecast"] == said
    assert read_latest(out)["alarms"] == [{"kind": "fallback", "message": "still", "since": since}]
    update_latest(domain, alarms={"fallback": None})
    assert read_latest(out)["alarms"] == []
    (out / "latest.json").write_text('{"domain": ')
    update_latest(domain, forecast=said, alarms={"fallback": "why"})
    assert read_latest(out)["forecast"] == said and len(read_latest(out)["alarms"]) == 1
