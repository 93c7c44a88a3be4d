"""The embedded archive, by properties that rain has: measured with pysteps, scipy and numpy, and from the files."""

import hashlib
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from pysteps.io import import_odim_hdf5
from pysteps.motion.lucaskanade import dense_lucaskanade
from pysteps.utils.spectral import rapsd
from scipy.integrate import solve_ivp
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.distance import pdist

from pipelines.params.radar import Simulate
from pipelines.radar.simulate import Background, Cell, Event, coverage, main, simulate

STEP_S = 300
ARCHIVE = Simulate(seed=5, events=3, hours=0.5, size=96)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "simulated"
    simulate(folder, ARCHIVE)
    return folder


@pytest.fixture(scope="module")
def weather() -> tuple[Event, np.ndarray]:
    """One event over 256 km, and 16 frames of it."""
    event = Event(seed=11, number=2, size=256)
    return event, np.array(list(event.frames(16)))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.h5"))
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rain_rate(path: Path) -> np.ndarray:
    """Rain rate by Marshall and Palmer, mm/h, as pysteps reads the file; it gives -30 dBZ where there is no echo."""
    dbz = import_odim_hdf5(str(path), qty="DBZH")[0]
    return np.where(dbz == -30.0, 0.0, (10 ** (dbz / 10) / 200) ** (1 / 1.6))


def decibels(rain: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(rain, 0.1))


def follow(event: Event, frame: np.ndarray, steps: int) -> np.ndarray:
    """Move a frame with the event's own flow, integrated by scipy; NaN where that brings what wasn't seen."""
    rows, columns = np.mgrid[0:256:4, 0:256:4].astype(float)

    def velocity(_: float, p: np.ndarray) -> np.ndarray:
        return (event.flow.velocity[:, None] + event.flow.gradient @ (p.reshape(2, -1) - event.flow.centre)).ravel()

    start = np.concatenate([rows.ravel(), columns.ravel()])
    end = solve_ivp(velocity, (0, -steps * STEP_S), start, rtol=1e-6).y[:, -1]
    return map_coordinates(frame, end.reshape(2, *rows.shape), order=1, cval=np.nan)


# The background


def test_spectrum_falls_off_as_rain_does_and_variance_is_one() -> None:
    rng = np.random.default_rng(0)
    spectra, variances = [], []
    for angle in np.linspace(0, np.pi, 8):
        field = Background(rng, 512, angle).field()
        power, frequency = rapsd(field, fft_method=np.fft, return_freq=True)
        spectra.append(power)
        variances.append(field.var())
    band = (frequency > 1 / 40) & (frequency < 1 / 4)
    slope = np.polyfit(np.log(frequency[band]), np.log(np.mean(spectra, axis=0)[band]), 1)[0]
    assert slope == pytest.approx(-3.0, abs=0.15)
    assert np.mean(variances) == pytest.approx(1.0, abs=0.15)


def test_background_is_stationary_and_forgets_small_scales_first() -> None:
    background = Background(np.random.default_rng(1), 512, 0.3)

    def scales() -> tuple[np.ndarray, np.ndarray]:
        field = background.field()
        return field - gaussian_filter(field, 2, mode="wrap"), gaussian_filter(field, 8, mode="wrap")

    small, large = scales()
    correlation = []
    for _ in range(12):
        background.step()
        now_small, now_large = scales()
        correlation.append(
            (np.corrcoef(small.flat, now_small.flat)[0, 1], np.corrcoef(large.flat, now_large.flat)[0, 1])
        )
    of_small, of_large = np.transpose(correlation)
    assert (of_small < of_large).all()
    assert (np.diff(of_small) < 0.02).all() and of_small[-1] < 0.3 and of_large[5] > 0.7
    assert now_small.var() == pytest.approx(small.var(), rel=0.05)


# The flow


def test_carry_solves_the_flows_equation() -> None:
    flow = Event(seed=2, number=1, size=128).flow
    start = np.array([[10.0, 90.0], [100.0, 30.0]])

    def velocity(_: float, p: np.ndarray) -> np.ndarray:
        return (flow.velocity[:, None] + flow.gradient @ (p.reshape(2, 2) - flow.centre)).ravel()

    solved = solve_ivp(velocity, (0, 7200), start.ravel(), rtol=1e-9, atol=1e-9).y[:, -1].reshape(2, 2)
    np.testing.assert_allclose(flow.carry(start, 7200), solved, atol=1e-4)
    np.testing.assert_allclose(flow.carry(flow.carry(start, 7200), -7200), start, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 20, 404])
def test_every_event_moves_in_its_own_way_turns_and_shears(seed: int) -> None:
    flows = [Event(seed, number, 256).flow for number in range(10)]
    velocities = np.array([flow.velocity for flow in flows]) * 1000  # m/s
    speeds = np.hypot(*velocities.T)
    assert speeds.min() >= 5 and speeds.max() <= 20
    assert pdist(velocities).min() > 1.5  # m/s
    for flow in flows:
        (a, b), (c, d) = flow.gradient
        assert a + d == pytest.approx(0, abs=1e-12)
        assert abs(c - b) > 1e-6 and np.hypot(a - d, b + c) > 1e-6  # 1/s: vorticity, deformation


# The cells


def cell() -> Cell:
    return Cell(np.array([50.0, 60.0]), 0.0, 3600.0, 20.0, 5.0, 2.0, 0.0)


def map_at(minutes: float) -> np.ndarray:
    rain = np.zeros((128, 128))
    cell().add_to(rain, np.array([50.0, 60.0]), minutes * 60)
    return rain


def test_a_cell_rises_fast_spreads_and_fades() -> None:
    maps = [map_at(minutes) for minutes in range(3, 60, 3)]
    peaks = np.array([rain.max() for rain in maps])
    strongest = peaks.argmax()
    assert 0 < strongest < len(peaks) / 2
    assert peaks.max() == pytest.approx(20.0, rel=0.01)
    assert (np.diff(peaks[: strongest + 1]) > 0).all() and (np.diff(peaks[strongest:]) < 0).all()
    # Pixels above 1/e of the peak are an ellipse of area π r²: r grows until the end.
    radius = np.sqrt([(rain > rain.max() / np.e).sum() / np.pi for rain in maps])
    assert (np.diff(radius) > -0.15).all() and radius[-1] > 1.8 * radius[0]


def test_a_cell_falls_off_exponentially_twice_as_far_along_its_long_axis() -> None:
    rain = map_at(30.0)
    along, across = np.log(rain[50:58, 60]), np.log(rain[50, 60:68])
    assert np.ptp(np.diff(along)) < 1e-9 and np.ptp(np.diff(across)) < 1e-9
    assert np.diff(across)[0] / np.diff(along)[0] == pytest.approx(2.0)


def test_a_cell_outside_the_map_leaves_it_dry_and_one_at_its_edge_doesn_t() -> None:
    far, near = np.zeros((64, 64)), np.zeros((64, 64))
    cell().add_to(far, np.array([-200.0, 30.0]), 1800.0)
    cell().add_to(near, np.array([-1.0, 64.0]), 1800.0)
    assert far.max() == 0
    assert near.max() > 1 and np.unravel_index(near.argmax(), near.shape) == (0, 63)


# An event


def test_pysteps_sees_the_event_move_as_its_flow_does(weather: tuple[Event, np.ndarray]) -> None:
    event, frames = weather
    seen = dense_lucaskanade(decibels(frames[6:9]))[::-1]  # rows, columns; pixels a step
    rows, columns = np.mgrid[:256, :256]
    offset = np.stack([rows, columns]) - event.flow.centre
    true = STEP_S * (event.flow.velocity[:, None, None] + np.einsum("ij,jyx->iyx", event.flow.gradient, offset))
    wet = frames[8] > 0.5
    error = np.hypot(*(seen - true))[wet]
    speed = np.hypot(*true)[wet].mean()
    assert speed > 1.4  # 5 m/s is 1.5 pixels a step
    assert np.median(error) < 0.25 * speed


def test_rain_follows_the_flow_but_grows_and_decays_on_the_way(weather: tuple[Event, np.ndarray]) -> None:
    event, frames = weather
    first = decibels(frames[2])
    moved, stayed = [], []
    for steps in (1, 3, 6, 12):
        followed, later = follow(event, first, steps), decibels(frames[2 + steps])[::4, ::4]
        known = np.isfinite(followed)
        moved.append(np.corrcoef(followed[known], later[known])[0, 1])
        stayed.append(np.corrcoef(first[::4, ::4][known], later[known])[0, 1])
    assert moved[0] > 0.9
    assert (np.diff(moved) < 0).all() and moved[-1] < 0.85
    assert (np.array(moved) > np.array(stayed)).all()


def test_the_last_frames_tell_what_becomes_of_the_rain(weather: tuple[Event, np.ndarray]) -> None:
    """What a pixel's rain did in the last 10 minutes says, in part, what it does in the next 10, seen from the flow."""
    event, frames = weather
    smooth = [gaussian_filter(decibels(frame), 1.5) for frame in frames]
    then, now, later = follow(event, smooth[2], 4), follow(event, smooth[4], 2), smooth[6][::4, ::4]
    wet = np.isfinite(then) & (now > -5)
    assert np.corrcoef((now - then)[wet], (later - now)[wet])[0, 1] > 0.45


@pytest.mark.parametrize("number", range(4))
def test_rain_is_as_wide_and_as_strong_as_rain(number: int) -> None:
    seen = coverage(256)
    rain = np.array([frame[seen] for frame in Event(seed=20, number=number, size=256).frames(4)])
    wet = rain[rain >= 0.1]
    assert 0.03 < wet.size / rain.size < 0.4
    logarithm = np.log(wet)
    assert 0.8 < logarithm.std() < 1.5  # FMI's and MeteoSwiss's composites: 0.9 to 1.15
    assert 0.3 < np.median(wet) < 1.0
    assert 0.005 < (wet > 5).mean() < 0.1 and 15 < wet.max() < 200
    assert rain[rain > 0].min() >= 0.05


def test_a_longer_event_begins_as_a_shorter_one_does() -> None:
    event = Event(seed=3, number=4, size=64)
    short = list(event.frames(2))
    for first, again in zip(short, event.frames(3), strict=False):
        assert np.array_equal(first, again)


# The archive


def test_a_folder_an_event_and_a_file_every_five_minutes(archive: Path) -> None:
    days = sorted(archive.iterdir())
    assert len(days) == 3
    last = datetime.min
    for day in days:
        files = sorted(day.iterdir())
        times = [datetime.strptime(path.name, "SIMU_%Y%m%dT%H%M%SZ.h5") for path in files]
        assert len(times) == 6 and day.name == times[0].strftime("%Y%m%d")
        assert all(b - a == timedelta(minutes=5) for a, b in pairwise(times))
        assert times[0] - last > timedelta(hours=6)
        last = times[-1]
        for path, time in zip(files, times, strict=True):
            with h5py.File(path) as file:
                what = file["what"].attrs
                assert (what["date"] + what["time"]).decode() == time.strftime("%Y%m%d%H%M%S")


def test_files_hold_the_event_by_marshall_and_palmer(archive: Path) -> None:
    event = Event(ARCHIVE.seed, 1, ARCHIVE.size)
    files = sorted((archive / np.datetime_as_string(event.start, "D").replace("-", "")).iterdir())
    for path, rain in zip(files, event.frames(6), strict=True):
        read = rain_rate(path)
        seen = np.isfinite(read)
        assert np.array_equal(seen, coverage(ARCHIVE.size))
        assert np.array_equal(read[seen] > 0, rain[seen] > 0)
        wet = seen & (rain > 0)
        # A quarter of a dBZ is 0.25 / 1.6 dB of rain.
        assert np.abs(10 * np.log10(read[wet] / rain[wet])).max() <= 0.25 / 1.6 + 1e-9


def test_a_part_of_the_area_is_out_of_range(archive: Path) -> None:
    unseen = [np.isnan(rain_rate(path)) for path in archive.rglob("*.h5")]
    assert all(np.array_equal(one, unseen[0]) for one in unseen)
    assert 0.02 < unseen[0].mean() < 0.2
    assert unseen[0][-1, -1] and not unseen[0][48, 48]


def test_a_seed_makes_the_same_bytes_and_another_doesn_t(archive: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "again", ARCHIVE.model_copy(update={"events": 2}))
    simulate(tmp_path / "other", ARCHIVE.model_copy(update={"events": 1, "seed": 6}))
    first, again, other = digests(archive), digests(tmp_path / "again"), digests(tmp_path / "other")
    assert len(again) == 12 and again.items() <= first.items()
    assert not set(other.values()) & set(first.values())


def test_the_stage_takes_params_yaml_and_replaces_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text(encoding="utf-8"))
    params["simulate"] = {"seed": 1, "events": 1, "hours": 0.25, "size": 64}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    stale = tmp_path / "raw" / "stale.h5"
    stale.parent.mkdir()
    stale.touch()
    main(Path("raw"))
    assert not stale.exists()
    assert [rain_rate(path).shape for path in Path("raw").rglob("*.h5")] == [(64, 64)] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "raw"]
