"""Fields of a forecast as scripts that the page loads: a small one of each for the first look, and a full one."""

import base64
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipelines.operation.page.scales import SCALES, scale_of, to_bytes
from pipelines.operation.page.script import finite, script
from pipelines.operation.products.accumulation import PERIODS_MIN
from pipelines.operation.products.dataset import RATE, valid_times
from pipelines.operation.products.names import stamp
from pipelines.operation.products.variables import OF_PROBABILITY
from pipelines.radar.frame import Frame
from pipelines.radar.regridding import block_mean

FIRST_LOOK = 360_000  # bytes of all small fields of the first layer together
SMALL, LARGE = 300, 2000  # pixels of the longer side at most, of a small field and of a full one
MIN_VALID = 0.5
OF_OTHERS = {OF_PROBABILITY: "Probability", "_percentile": "Percentile"}
LEVEL = {"threshold": "≥ {:g} mm/h", "amount_threshold": "≥ {:g} mm", "percentile": "{:g} %"}

Values = NDArray[np.float32]


class Layer(NamedTuple):
    """A variable of a forecast, or one of its levels.

    Parameters
    ----------
    id, name, level : str
        For the page: its files begin with the first; the others are words, no level where the variable has none.
    scale : str
        One of `SCALES`.
    fields : DataArray of shape (times, H, W)
    times : ndarray of shape (times,)
    """

    id: str
    name: str
    level: str
    scale: str
    fields: xr.DataArray
    times: NDArray[np.datetime64]


class Field(NamedTuple):
    """A layer at one time: its values as the page has them at most, and what is told of all of them.

    That is the highest, the share of what is known that reaches the lowest class, and the share of what is known.
    """

    time: np.datetime64
    values: Values
    told: list[float | None]


def layers_of(forecast: xr.Dataset) -> Iterator[Layer]:
    """Yield what a forecast has maps of, the rain rate first."""
    for name, times in sorted(valid_times(forecast).items(), key=lambda one: one[0] != RATE):
        variable = forecast[name]
        words = _words(forecast, name)
        if variable.ndim == 3:
            yield Layer(name, words, "", scale_of(name), variable, times)
            continue
        axis = str(variable.dims[1])
        for number, value in enumerate(forecast[axis].to_numpy()):
            yield Layer(
                f"{name}_{number}", words, LEVEL[axis].format(value), scale_of(name), variable[:, number], times
            )


def write_layers(forecast: xr.Dataset, observed: Iterable[Frame], folder: Path, key: str) -> dict[str, Any]:
    """Write a script for each field, small, and full where that is finer; return what the page has to know of them.

    Small ones are as fine as `FIRST_LOOK` lets those of the first layer be. Rates and amounts are means over blocks of
    pixels then; of probabilities, which nothing may smooth, the pixel in each block's middle.

    Parameters
    ----------
    forecast : Dataset
        As published.
    observed : iterable of Frame
        That the first layer begins with, oldest first, on the forecast's grid.
    folder : Path
        That there is.
    key : str
        What the names of the scripts begin with.
    """
    H, W = forecast[RATE].shape[1:]
    full, small = -(-max(H, W) // LARGE), 0
    layers = []
    for layer in layers_of(forecast):
        fields: Iterable[Field] = _fields(layer, observed if layer.id == RATE else (), full)
        if not small:
            fields = list(fields)
            small = _small([field.values for field in fields])
        frames = []
        for time, values, told in fields:
            name = f"{layer.id}_{stamp(time)}"
            for kind, factor in {"small": small, "full": 1}.items() if small > 1 else (("small", 1),):
                text = script(f"{key}/{name}_{kind}", _packed(values, factor, layer.scale))
                (folder / f"{name}_{kind}.js").write_text(text, encoding="ascii")
            frames.append([f"{np.datetime_as_string(time, 's')}Z", *told])
        about = {"id": layer.id, "name": layer.name, "level": layer.level, "scale": layer.scale}
        layers.append(about | {"meaning": _meaning(forecast, layer), "frames": frames})
    return {"rows": H, "columns": W, "small": small * full, "full": full, "layers": layers}


def reduced(values: Values, factor: int, scale: str) -> Values:
    """Return one value for each block of ``factor`` by ``factor``: of rain the mean, of a probability the middle's."""
    if factor == 1:
        return values
    if scale != "probability":
        return block_mean(values, factor, MIN_VALID)
    rows, columns = (np.minimum(np.arange(0, size, factor) + factor // 2, size - 1) for size in values.shape)
    return values[np.ix_(rows, columns)]


def _fields(layer: Layer, observed: Iterable[Frame], full: int) -> Iterator[Field]:
    """Yield a layer's fields one by one: those of a continent are a gigabyte together."""
    bound = SCALES[layer.scale]["bounds"][0]

    def field(time: np.datetime64, values: Values) -> Field:
        known = values[~np.isnan(values)]
        told = [None, None, finite(known.size / values.size, 3)]
        if known.size:
            told[:2] = finite(known.max(), 2), finite((known >= np.float32(bound)).mean(), 3)
        return Field(time, reduced(values, full, layer.scale), told)

    for frame in observed:
        yield field(frame.time, frame.rain_rate)
    for time, values in zip(layer.times, layer.fields, strict=True):
        yield field(time, values.to_numpy())


def _small(fields: list[Values]) -> int:
    """Return the smallest block with which the rain of a first look isn't more than `FIRST_LOOK`."""
    factor = -(-max(fields[0].shape) // SMALL)
    while factor < max(fields[0].shape) and sum(len(_packed(one, factor, "rate")) for one in fields) > FIRST_LOOK:
        factor += 1
    return factor


def _packed(values: Values, factor: int, scale: str) -> str:
    return base64.b64encode(zlib.compress(to_bytes(reduced(values, factor, scale), scale).tobytes())).decode()


def _words(forecast: xr.Dataset, name: str) -> str:
    """Return the name of a variable in words; of one that is told of another it is short, and says of which."""
    for ending, kind in OF_OTHERS.items():
        if name.endswith(ending):
            return f"{kind}: {_words(forecast, name.removesuffix(ending)).lower()}"
    return str(forecast[name].attrs["long_name"]).removeprefix("forecast ").capitalize()


def _meaning(forecast: xr.Dataset, layer: Layer) -> str:
    """Return in words what of the valid time a layer's values are of."""
    for minutes in PERIODS_MIN:
        if layer.fields.dims[0] == f"period_{minutes}min":
            return f"of the {minutes} minutes up to the valid time"
    if "lead_time_bounds" not in forecast:
        return "at the valid time"
    start, end = forecast["lead_time_bounds"].to_numpy()[0]
    side = "up to" if forecast["time"].attrs["time_is"] == "end" else "from"
    return f"mean of {(end - start) / 60:g} minutes {side} the valid time"
