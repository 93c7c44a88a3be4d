"""Stage ``simulate``: the embedded archive, radar composites of simulated rain events.

Each event (:class:`Event`) has one steering flow (:class:`Flow`), and all of its weather moves along with that:

* a stratiform background (:class:`Background`), whose spectrum falls off as that of rain does, and whose small scales
  change sooner than its large ones;
* convective cells (:class:`Cell`), born where the background is strong, that rise fast, spread and fade;
* a slow growth and decay of both.

A few frames show where rain goes, and also what becomes of it: what is small and rises will spread, what is wide and
weakens will fade. Extrapolation knows the first; a trained model can learn the second. The numbers below make rain
that looks like rain. No claim of skill rests on them, and they don't change with results.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.ndimage import map_coordinates
from scipy.stats import norm

from pipelines.common.files import atomic_path
from pipelines.common.progress import track
from pipelines.common.stage import run
from pipelines.params.radar import Simulate
from pipelines.params.read import read_params
from pipelines.radar.grid import Grid
from pipelines.radar.odim_writer import write_composite

Array = NDArray[np.float64]

STEP_S = 300  # from one frame to the next
PIXEL_M = 1000.0
AREA = "+proj=laea +lat_0=55 +lon_0=-30 +x_0=0 +y_0=0 +ellps=WGS84 +units=m"  # open ocean: nobody's radars
FIRST_DAY = np.datetime64("2024-06-01", "s")
DAYS_APART = 2  # an event lasts a day at most
# Radar sites (row, column) and their range in shares of the area's size. They leave corners unseen.
RADARS = {"simaa": (0.25, 0.35), "simbb": (0.75, 0.45), "simcc": (0.3, 0.8)}
RANGE = 0.42
WEAKEST = 0.05  # mm/h; the radars see no echo of less
Z_R = (200.0, 1.6)  # Marshall and Palmer

SLOPE = 3.0  # the background's spectral density falls with wavenumber to the power of -SLOPE
OUTER_KM = 150.0  # wavelength beyond which it levels off
MEMORY_S, MEMORY_KM, MEMORY_POWER = 3600.0, 32.0, 0.7  # MEMORY_S at MEMORY_KM; it grows with wavelength to this power
# Stratiform rain, in dB of mm/h, climbs from 0.1 mm/h at its edge towards 5 mm/h where the background is highest.
EDGE_DB, CLIMB_DB, CLIMB = -10.0, 17.0, 0.8
TEXTURE_DB = 3.0  # what the background makes of a cell's rain, dB for each standard deviation above or below 2
LONGEST_LIFE_S = 7200.0  # of a cell
CYCLE_S = 4 * 3600.0  # period of the whole event's growth and decay


@dataclass(frozen=True)
class Flow:
    """Steady flow that turns and shears but doesn't converge: v(p) = velocity + gradient·(p - centre).

    Positions are rows (southward) and columns (eastward), in pixels.

    Parameters
    ----------
    velocity : ndarray of shape (2,)
        In the centre, pixels a second.
    gradient : ndarray of shape (2, 2)
        1/s, without trace.
    centre : float
        Row and column of the area's centre.
    """

    velocity: Array
    gradient: Array
    centre: float

    @classmethod
    def draw(cls, rng: np.random.Generator, speed: float, towards: float, size: int) -> "Flow":
        """Draw a flow over ``size`` pixels each way that has ``speed``, m/s, ``towards`` a bearing in the centre."""
        velocity = speed * np.array([-np.cos(np.deg2rad(towards)), np.sin(np.deg2rad(towards))])
        # Change of the velocity from the centre to the edge, m/s.
        turn, strain = rng.choice([-1, 1]) * rng.uniform(0.5, 2.5), rng.uniform(0.5, 2.5)
        axis = rng.uniform(0, 2 * np.pi)
        change = strain * np.array([[np.cos(axis), np.sin(axis)], [np.sin(axis), -np.cos(axis)]])
        change += turn * np.array([[0, 1], [-1, 0]])
        return cls(velocity / PIXEL_M, change / PIXEL_M / (max(size, 256) / 2), (size - 1) / 2)

    def carry(self, positions: Array, seconds: float) -> Array:
        """Return the places of ``positions``, of shape (2, ...), ``seconds`` later; before, if that is negative."""
        # dp/dt = gradient·p + velocity is linear in (p, 1).
        moved = expm(seconds * np.block([[self.gradient, self.velocity[:, None]], [np.zeros((1, 3))]]))
        shift = (moved[:2, 2] + self.centre).reshape(2, *[1] * (positions.ndim - 1))
        return np.tensordot(moved[:2, :2], positions - self.centre, axes=1) + shift


class Background:
    """Gaussian field of mean 0 and variance 1, periodic, in the frame that moves with the flow.

    Each wavenumber is a second-order autoregressive process, critically damped, with a memory that grows with
    wavelength: S-PROG's and STEPS' model of rain's evolution (Seed 2003,
    doi:10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2), which have one for each octave. Of second order, it goes on
    for a while as it has begun.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drawn from again at each step.
    size : int
        Rows and columns, pixels; even.
    angle : float
        Of the rain bands that it makes, radians from the rows' direction to the columns'.
    """

    def __init__(self, rng: np.random.Generator, size: int, angle: float) -> None:
        self.rng, self.size = rng, size
        row, column = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
        along, across = _turned(row, column, angle)
        stretch = np.sqrt(rng.uniform(1, 2.5))
        wavenumber = np.hypot(along * stretch, across / stretch) * 1000 / PIXEL_M  # cycles a kilometre
        density = (wavenumber**2 + OUTER_KM**-2) ** (-SLOPE / 2)
        density[0, 0] = 0.0
        # All columns but the first and the last stand for two of the whole spectrum.
        variance = 2 * density.sum() - density[:, [0, -1]].sum()
        self.amplitude = size * np.sqrt(density / variance)
        self.kept = np.exp(-STEP_S / MEMORY_S * (wavenumber * MEMORY_KM) ** MEMORY_POWER)
        correlation = 2 * self.kept / (1 + self.kept**2)  # from one frame to the next
        self.before = self._draw()
        self.spectrum = correlation * self.before + np.sqrt(1 - correlation**2) * self._draw()

    def _draw(self) -> NDArray[np.complex128]:
        return self.amplitude * np.fft.rfft2(self.rng.standard_normal((self.size, self.size)))

    def step(self) -> None:
        """Go on by one frame."""
        noise = np.sqrt((1 - self.kept**2) ** 3 / (1 + self.kept**2)) * self._draw()  # keeps the variance at 1
        following = 2 * self.kept * self.spectrum - self.kept**2 * self.before + noise
        self.before, self.spectrum = self.spectrum, following

    def field(self) -> Array:
        """Return the field now, of shape (size, size)."""
        return np.fft.irfft2(self.spectrum, s=(self.size, self.size))


@dataclass(frozen=True)
class Cell:
    """A convective cell: rain that falls off exponentially from its centre (von Hardenberg et al. 2003).

    It is strongest in the first half of its life, and spreads until the end.

    Parameters
    ----------
    centre : ndarray of shape (2,)
        Row and column where the flow had it at time 0.
    born_s, life_s : float
        Seconds after time 0, and seconds.
    peak : float
        Rain rate in the centre at its strongest, mm/h.
    radius : float
        Distance in which rain falls to 1/e at the end of its life, pixels.
    stretch, angle : float
        Ratio of the axes, and the long one's angle as of :class:`Background`.

    References
    ----------
    doi:10.1029/2003GL018539
    """

    centre: Array
    born_s: float
    life_s: float
    peak: float
    radius: float
    stretch: float
    angle: float

    @classmethod
    def draw(cls, rng: np.random.Generator, centre: Array, born_s: float, angle: float) -> "Cell":
        """Draw a cell about along ``angle``. Large ones live long."""
        size = rng.lognormal(0, 0.3)
        life_s = min(3600 * size**0.7 * rng.lognormal(0, 0.2), LONGEST_LIFE_S)
        peak = min(rng.lognormal(np.log(9.0), 0.6), 40.0)
        return cls(centre, born_s, life_s, peak, 2.2 * size, rng.uniform(1, 2.5), angle + rng.normal(0, 0.3))

    def add_to(self, rain: Array, position: Array, now_s: float) -> None:
        """Put its rain, where it is more, on the map ``rain`` in mm/h; ``position`` is where the flow has it now."""
        age = (now_s - self.born_s) / self.life_s
        strength, radius = self.peak * np.sin(np.pi * age**0.6), self.radius * (0.4 + 0.6 * age)
        reach = radius * np.sqrt(self.stretch) * np.log(max(strength / WEAKEST, 1.0))
        (top, left), (bottom, right) = (np.clip(position + way, 0, rain.shape).astype(int) for way in (-reach, reach))
        row, column = np.arange(top, bottom)[:, None] - position[0], np.arange(left, right) - position[1]
        along, across = _turned(row, column, self.angle)
        distance = np.sqrt(along**2 / self.stretch + across**2 * self.stretch)
        part = rain[top:bottom, left:right]
        np.maximum(part, strength * np.exp(-distance / radius), out=part)


def _turned(row: Array, column: Array, angle: float) -> tuple[Array, Array]:
    """Coordinates along ``angle`` and across it."""
    return np.cos(angle) * row + np.sin(angle) * column, np.cos(angle) * column - np.sin(angle) * row


class Event:
    """A rain event: a function of seed, number and size, whatever other events there are and however long it is.

    Parameters
    ----------
    seed, number : int
    size : int
        Rows and columns of the area, pixels.

    Attributes
    ----------
    start : numpy.datetime64
        Time of the first frame, UTC.
    flow : Flow
    """

    def __init__(self, seed: int, number: int, size: int) -> None:
        rng = np.random.default_rng((seed, number))
        clock_s = STEP_S * int(rng.integers(6 * 12, 18 * 12))  # between 6 and 18 hours
        self.start = FIRST_DAY + np.timedelta64(number * DAYS_APART * 86400 + clock_s, "s")
        # Evenly spread, not drawn (Roberts' R2 sequence), lest two events move alike: 7 to 17 m/s, not westward.
        shares = (np.random.default_rng(seed).uniform(size=2) + number * np.array([0.754878, 0.569840])) % 1
        self.flow = Flow.draw(rng, speed=7 + 10 * shares[0], towards=180 * shares[1], size=size)
        self.size, self.weather_seed = size, (seed, number, 1)
        self.band_angle = rng.uniform(0, np.pi)
        self.wet_share = rng.uniform(0.09, 0.2)
        self.births = rng.uniform(8, 24)  # an hour, in a square of 100 km
        self.phase = rng.uniform(0, 2 * np.pi)

    def frames(self, count: int) -> Iterator[Array]:
        """Return the rain rate at the first ``count`` times, mm/h, each of shape (size, size)."""
        rng = np.random.default_rng(self.weather_seed)
        # What the flow brings over the area fits into twice its size without being seen twice.
        background = Background(rng, 2 * max(self.size, 256), self.band_angle)
        edge = norm.isf(self.wet_share)
        area = np.mgrid[: self.size, : self.size].astype(float)
        cells: list[Cell] = []
        for step in range(count):
            now_s = step * STEP_S
            vigour = np.sin(2 * np.pi * now_s / CYCLE_S + self.phase)
            field = background.field()
            born = self._births(rng, field, vigour, now_s, STEP_S if step else LONGEST_LIFE_S)
            cells = [cell for cell in [*cells, *born] if now_s < cell.born_s + cell.life_s]
            here = map_coordinates(field, self.flow.carry(area, -now_s), mode="grid-wrap")
            stratiform_db = EDGE_DB + CLIMB_DB * (1 - np.exp(-(here - edge + 0.3 * vigour) / CLIMB))
            convective = self._convective(cells, field.shape[0], now_s) * 10 ** (TEXTURE_DB * (here - 2) / 10)
            rain = 10 ** (stratiform_db / 10) + convective
            yield np.where(rain >= WEAKEST, rain, 0.0)
            background.step()

    def _births(
        self, rng: np.random.Generator, field: Array, vigour: float, now_s: float, since_s: float
    ) -> Iterator[Cell]:
        """Cells born in the last ``since_s``, most where the background is strong."""
        squares = field.size * (PIXEL_M / 1e5) ** 2
        number = rng.poisson(self.births * squares * since_s / 3600 * np.exp(0.7 * vigour))
        weight = np.exp(2.0 * field).ravel()
        places = np.unravel_index(rng.choice(field.size, number, p=weight / weight.sum()), field.shape)
        centres = np.stack(places, axis=1) + rng.uniform(-0.5, 0.5, (number, 2))
        for centre, age_s in zip(centres, rng.uniform(0, since_s, number), strict=True):
            yield Cell.draw(rng, centre, now_s - age_s, self.band_angle)

    def _convective(self, cells: list[Cell], period: int, now_s: float) -> Array:
        """Rain of the cells, mm/h, of shape (size, size); like the background they recur every ``period`` pixels."""
        rain = np.zeros((self.size, self.size))
        centres = np.reshape([cell.centre for cell in cells], (-1, 2)).T
        middle = self.flow.carry(np.full((2, 1), self.flow.centre), -now_s)
        nearest = centres + period * np.rint((middle - centres) / period)
        for cell, position in zip(cells, self.flow.carry(nearest, now_s).T, strict=True):
            cell.add_to(rain, position, now_s)
        return rain


def coverage(size: int) -> NDArray[np.bool_]:
    """Return where the radars see, of shape (size, size)."""
    row, column = np.mgrid[:size, :size] / size
    return np.any([np.hypot(row - site[0], column - site[1]) < RANGE for site in RADARS.values()], axis=0)


def simulate(folder: Path, params: Simulate) -> None:
    """Write the archive into ``folder``: a folder an event, named after its first day, with a file a frame."""
    half = params.size / 2 * PIXEL_M
    grid = Grid.from_edges(
        pyproj.CRS(AREA), left=-half, top=half, dx=PIXEL_M, dy=PIXEL_M, shape=(params.size, params.size)
    )
    seen = coverage(params.size)
    how = {"nodes": ", ".join(RADARS), "zr_a": Z_R[0], "zr_b": Z_R[1], "comment": "simulated; no radar measured this"}
    count = max(1, round(params.hours * 3600 / STEP_S))
    events = [Event(params.seed, number, params.size) for number in range(params.events)]
    frames = ((event, step, rain) for event in events for step, rain in enumerate(event.frames(count)))
    with atomic_path(folder) as temporary:
        for event, step, rain in track(frames, "simulate", total=count * len(events)):
            time = event.start + np.timedelta64(step * STEP_S, "s")
            with np.errstate(divide="ignore"):
                dbz = np.where(seen, 10 * np.log10(Z_R[0] * rain ** Z_R[1]), np.nan)
            day = temporary / str(event.start)[:10].replace("-", "")
            day.mkdir(parents=True, exist_ok=True)
            stamp = str(time).replace("-", "").replace(":", "")
            write_composite(day / f"SIMU_{stamp}Z.h5", dbz, time, grid, scan_s=STEP_S, how=how)


def main(folder: Path) -> None:
    """Simulate the archive into FOLDER with params.yaml's section simulate."""
    simulate(folder, read_params().simulate)


if __name__ == "__main__":
    run(main)
