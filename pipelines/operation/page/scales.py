"""What a value is on the page: a byte, the value that each byte stands for, and the colours of its classes.

Colours go from light to dark in one order, so that who sees none, or not all, reads the same map; what isn't known is
the grey that no class has. A byte is a class as well: none has values of two.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from pipelines.operation.products.probability_maps import SCALE as PROBABILITY_SCALE
from pipelines.operation.products.variables import OF_PROBABILITY
from pipelines.radar.maps import BOUNDS, COLOURS, SCALE

UNKNOWN = 255
STEPS = 250  # of a probability, as in forecast.nc
STEP = 0.036  # of the logarithm of rain
# From these on a byte is a step of 4 %; what is less is dry, and what is more is the last one.
EDGES = [0.05, *BOUNDS, 320.0]
LEVELS = np.concatenate(
    [np.geomspace(low, high, round(np.log(high / low) / STEP), endpoint=False) for low, high in pairwise(EDGES)]
)
SAFE = ["#c6e2f2", "#94c5ea", "#5fa5dd", "#4083cd", "#6858b5", "#8a2c92", "#740f48", "#3d0517"]
PICTURES = [*COLOURS, to_hex(tuple(SCALE.get_over()))]


def scale_of(name: str) -> str:
    """Return which of `SCALES` a variable of a forecast has."""
    if name.endswith(OF_PROBABILITY):
        return "probability"
    return "amount" if "amount" in name else "rate"


def to_bytes(values: NDArray[np.floating], scale: str) -> NDArray[np.uint8]:
    """Return values (mm/h, mm, or from 0 to 1) as bytes; `UNKNOWN` for NaN."""
    if scale == "probability":
        found = np.rint(np.nan_to_num(values) * STEPS)
    else:
        found = np.searchsorted(LEVELS.astype(np.float32), values, side="right")
    return np.where(np.isnan(values), UNKNOWN, found).astype(np.uint8)


def _of_rain(unit: str) -> dict[str, Any]:
    middles = np.sqrt(LEVELS[:-1] * LEVELS[1:])
    return {
        "unit": unit,
        "values": [0, *(float(f"{value:.4g}") for value in middles), LEVELS[-1].round(1)],
        "bounds": BOUNDS,
        "palettes": {"colour-blind safe": SAFE, "as in the pictures": PICTURES},
    }


# For the page: what each byte stands for, where classes begin, and the colours of these.
SCALES: dict[str, dict[str, Any]] = {
    "rate": _of_rain("mm/h"),
    "amount": _of_rain("mm"),
    "probability": {
        "unit": "%",
        "values": [round(step / STEPS, 3) for step in range(STEPS + 1)],
        "bounds": [float(bound) for bound in PROBABILITY_SCALE.norm.boundaries.round(2)],
        "palettes": {
            "viridis": [
                *(to_hex(PROBABILITY_SCALE.colours(number)) for number in range(9)),
                to_hex(tuple(PROBABILITY_SCALE.colours.get_over())),
            ]
        },
    },
}
