"""Maps of a forecast, one a time, on a graticule of latitude and longitude; and the same as an animated GIF."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.spatial import cKDTree

from pipelines.operation.products.attributes import ForecastAttributes
from pipelines.operation.products.graticule import draw_graticule
from pipelines.operation.products.names import stamp
from pipelines.radar.frame import Frame, Rain
from pipelines.radar.grid import Grid
from pipelines.radar.maps import BOUNDS, COLOURS, LONGEST, NORM, SCALE, thinned

DPI = 100
LONGER_SIDE, SHORTEST = 7.6, 3.6  # inches of a map
LEFT, RIGHT, BELOW, ABOVE = 0.6, 1.0, 1.15, 0.9  # inches around it
OBSERVED, FORECAST, WARNING, INK, GREY = "#455a64", "#1565c0", "#b71c1c", "#212121", "#616161"
SHOWN_MS, PAUSE_MS = 350, 1400
PALETTE = 128  # colours of the GIF
BITS = 6  # of a channel, by which the nearest colour of the palette is looked up

RGB = NDArray[np.uint8]


def write_maps(forecast: xr.Dataset, observed: Sequence[Frame], folder: Path, animation: Path) -> None:
    """Draw the observed frames and every lead time, a PNG each, and the GIF that shows them one after the other.

    Parameters
    ----------
    forecast : Dataset
        See :func:`pipelines.operation.products.dataset.forecast_dataset`.
    observed : sequence of Frame
        Oldest first; the last is the one that the forecast starts from.
    folder : Path
        For the PNGs, observed_STAMP.png and forecast_STAMP.png; that there is.
    animation : Path
        The GIF.
    """
    reference = observed[-1].time
    times = [*(frame.time for frame in observed), *forecast["time"].to_numpy().astype("datetime64[s]")]
    few, grid = thinned(observed[-1].grid, 2 * LONGEST)
    fields = [frame.rain_rate[few] for frame in observed]
    fields += [lead.to_numpy()[few].copy() for lead in forecast["rainfall_flux"]]
    series = MapSeries(grid, times, reference, ForecastAttributes.model_validate(forecast.attrs))
    drawn = [series.draw(field, time) for field, time in zip(fields, times, strict=True)]
    wettest = drawn[int(np.argmax([np.nansum(field) for field in fields]))]
    sample = np.concatenate([drawn[0], wettest, drawn[-1]])
    scale = [SCALE.get_bad(), SCALE.get_over(), SCALE.get_under(), *map(to_rgba, COLOURS)]
    pictures = with_common_palette(drawn, sample, np.round(255 * np.array(scale))[:, :3])
    for picture, time in zip(pictures, times, strict=True):
        picture.save(folder / f"{'observed' if time <= reference else 'forecast'}_{stamp(time)}.png")
    shown = [PAUSE_MS if time in (reference, times[-1]) else SHOWN_MS for time in times]
    pictures[0].save(
        animation, save_all=True, append_images=pictures[1:], duration=shown, loop=0, optimize=False, disposal=1
    )


class MapSeries:
    """Maps of one grid in one figure: what they share is drawn once.

    Parameters
    ----------
    grid : Grid
    times : sequence of numpy.datetime64
        Of all maps, in order.
    reference : numpy.datetime64
        Time of the newest observed frame; later ones are forecasts.
    attributes : ForecastAttributes
        Of the forecast.
    """

    def __init__(
        self, grid: Grid, times: Sequence[np.datetime64], reference: np.datetime64, attributes: ForecastAttributes
    ) -> None:
        self.times, self.reference = list(times), reference
        dy, dx = grid.spacing
        H, W = grid.shape
        extent = (grid.x[0] - dx / 2, grid.x[-1] + dx / 2, grid.y[-1] - dy / 2, grid.y[0] + dy / 2)
        # A degree of longitude is shorter than one of latitude.
        stretch = 1.0 if grid.crs.is_projected else 1 / np.cos(np.deg2rad(grid.y.mean()))
        ratio = stretch * H * dy / (W * dx)
        wide, high = (max(LONGER_SIDE * min(1, one), SHORTEST) for one in (1 / ratio, ratio))
        size = np.array([LEFT + wide + RIGHT, BELOW + high + ABOVE])

        def place(left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
            return left / size[0], bottom / size[1], width / size[0], height / size[1]

        figure = Figure(figsize=tuple(size), dpi=DPI, facecolor="white")
        self.canvas = FigureCanvasAgg(figure)
        self.axes = figure.add_axes(place(LEFT, BELOW, wide, high))
        self.axes.tick_params(labelsize=8, length=3, color=GREY, labelcolor=GREY)
        # Colours, not numbers, are made smaller: a mean of rain and no data is neither.
        self.image = self.axes.imshow(
            np.zeros((H, W)), cmap=SCALE, norm=NORM, extent=extent, aspect=stretch, interpolation_stage="rgba"
        )
        self.axes.set(xlim=extent[:2], ylim=extent[2:])
        graticule = draw_graticule(self.axes, grid.crs, extent)
        bar = figure.colorbar(
            ScalarMappable(NORM, SCALE),
            cax=figure.add_axes(place(LEFT + wide + 0.2, BELOW + 0.55, 0.2, high - 0.85)),
            extend="max", ticks=BOUNDS, format="%g",
        )  # fmt: skip
        bar.ax.tick_params(labelsize=9, length=0)
        bar.ax.set_title("mm/h", fontsize=10, pad=8, loc="left")
        unknown = figure.add_axes(place(LEFT + wide + 0.2, BELOW + 0.08, 0.2, 0.2), facecolor=SCALE.get_bad())
        unknown.set(xticks=[], yticks=[])
        unknown.text(1.25, 0.5, "not\nknown", fontsize=8, va="center", transform=unknown.transAxes)

        head = figure.add_axes(place(LEFT, BELOW + high, wide, ABOVE))
        foot = figure.add_axes(place(LEFT, 0, wide + RIGHT - 0.1, 0.35))
        line = figure.add_axes(place(LEFT, 0.5, wide, 0.34))
        for around in (head, foot, line):
            around.axis("off")
        head.text(0, 0.78, f"Rain rate, radar nowcast from {clock(reference)}", fontsize=10, color=GREY, va="center")
        self.valid = head.text(0, 0.36, "", fontsize=15, weight="bold", color=INK, va="center")
        self.kind = head.text(
            0.985, 0.36, "", fontsize=11, weight="bold", color="white", va="center", ha="right",
            bbox={"boxstyle": "round,pad=0.35", "linewidth": 0},
        )  # fmt: skip
        foot.text(0, 0.72, attributes.credit, fontsize=8, color=GREY, va="center", parse_math=False)
        if warning := attributes.short_warning:
            foot.text(0, 0.25, warning, fontsize=8, color=WARNING, weight="bold", va="center")
        minutes = np.array([(time - reference) / np.timedelta64(60, "s") for time in self.times])
        line.set(xlim=(minutes[0], minutes[-1]), ylim=(-1, 1))
        colours = np.where(minutes <= 0, OBSERVED, FORECAST)
        line.plot(minutes[[0, -1]], [0, 0], color="#cfd8dc", linewidth=2, zorder=1, clip_on=False)
        line.scatter(minutes, np.zeros_like(minutes), s=14, c=colours, zorder=2, clip_on=False)
        line.text(0, -1.1, "now", fontsize=7.5, color=GREY, ha="center", va="center")
        for at, side in ((minutes[0], "left"), (minutes[-1], "right")):
            if at != 0:
                line.text(at, -1.1, f"{at:+g} min", fontsize=7.5, color=GREY, ha=side, va="center")
        (self.now,) = line.plot([0], [0], "o", markersize=9, markeredgecolor="white", clip_on=False, zorder=3)
        self.minutes = minutes
        of_map: list[Artist] = [self.image, graticule, *self.axes.spines.values()]
        self.changing = [(self.axes, one) for one in of_map] + [(head, self.valid), (head, self.kind), (line, self.now)]
        for _, artist in self.changing:
            artist.set_animated(True)
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(figure.bbox)

    def draw(self, rain_rate: Rain, time: np.datetime64) -> RGB:
        """Draw the map of one of the times; return the picture, of shape (rows, columns, 3)."""
        minutes = self.minutes[self.times.index(time)]
        colour = OBSERVED if minutes <= 0 else FORECAST
        self.image.set_data(rain_rate)
        self.valid.set_text(clock(time))
        self.kind.set_text("observed" if minutes <= 0 else f"forecast +{minutes:g} min")
        badge = self.kind.get_bbox_patch()
        assert badge is not None
        badge.set_facecolor(colour)
        self.now.set_data([minutes], [0])
        self.now.set_color(colour)
        self.canvas.restore_region(self.background)
        for axes, artist in self.changing:
            axes.draw_artist(artist)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()


def clock(time: np.datetime64) -> str:
    """Time as a reader wants it: 2016-09-28 18:00 UTC."""
    return f"{time.astype('datetime64[s]').astype(datetime):%Y-%m-%d %H:%M} UTC"


def with_common_palette(pictures: Sequence[RGB], sample: RGB, exact: ArrayLike) -> list[Image.Image]:
    """Return pictures of the same few colours, as a GIF wants them: every pixel the nearest one.

    Parameters
    ----------
    pictures : sequence of ndarray of shape (rows, columns, 3)
    sample : ndarray of shape (rows, columns, 3)
        What the colours are chosen from.
    exact : array-like of shape (K, 3)
        Colours that are to come out as they are.
    """
    kept = np.asarray(exact, np.uint8)
    chosen = Image.fromarray(sample).quantize(PALETTE - len(kept), dither=Image.Dither.NONE)
    colours = np.concatenate([kept, np.reshape(chosen.getpalette() or [], (-1, 3))]).astype(np.uint8)[:PALETTE]
    shades = np.arange(1 << BITS) * (256 >> BITS) + (128 >> BITS)
    nearest = cKDTree(colours).query(np.stack(np.meshgrid(shades, shades, shades, indexing="ij"), -1).reshape(-1, 3))[1]
    nearest[_code(kept)] = np.arange(len(kept))
    nearest = nearest.astype(np.uint8)
    made = []
    for picture in pictures:
        image = Image.fromarray(nearest[_code(picture)])
        image.putpalette(colours.tobytes())
        made.append(image)
    return made


def _code(rgb: RGB) -> NDArray[np.int32]:
    red, green, blue = np.moveaxis(rgb.astype(np.int32) >> (8 - BITS), -1, 0)
    return (red << 2 * BITS) | (green << BITS) | blue
