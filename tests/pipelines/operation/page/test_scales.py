"""The page's colours, by formulas that are not the page's own."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import pipelines.operation.page
from pipelines.operation.page.scales import LEVELS, SCALES

HERE = Path(pipelines.operation.page.__file__).parent
STYLE, SCRIPT = ((HERE / name).read_text() for name in ("index.css", "index.js"))


def luminance(colour: str) -> float:
    """Relative luminance of sRGB, WCAG 2.2."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in (red, green, blue)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def lightness(colour: str) -> float:
    """L* of CIELAB."""
    return 116 * luminance(colour) ** (1 / 3) - 16


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def variable(name: str) -> str:
    (colour,) = re.findall(rf"--{name}: (#\w{{6}})", STYLE)
    return colour


@pytest.mark.parametrize(
    ("scale", "palette"), [("rate", "colour-blind safe"), ("amount", "colour-blind safe"), ("probability", "viridis")]
)
def test_colours_go_from_light_to_dark_so_that_none_has_to_be_seen(scale: str, palette: str) -> None:
    colours = SCALES[scale]["palettes"][palette]
    assert len(colours) == len(SCALES[scale]["bounds"])
    steps = [lightness(light) - lightness(dark) for light, dark in pairwise(["#ffffff", *colours])]
    assert min(steps) > 5, steps


def test_what_is_not_known_is_the_only_grey() -> None:
    (unknown,) = re.findall(r'UNKNOWN_COLOUR = "(#\w{6})"', SCRIPT)
    for colour in [
        unknown,
        *(one for scale in SCALES.values() for palette in scale["palettes"].values() for one in palette),
    ]:
        parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (max(parts) - min(parts) < 12) == (colour == unknown), colour


@pytest.mark.parametrize(
    ("text", "ground"),
    [("ink", "panel"), ("soft", "panel"), ("soft", "ground"), ("wrong", "wrong-ground"), ("forecast", "panel")],
)
def test_texts_have_the_contrast_of_wcag_aa(text: str, ground: str) -> None:
    assert contrast(variable(text), variable(ground)) >= 4.5


def test_bytes_are_enough_and_their_steps_small() -> None:
    assert len(LEVELS) < 255 and (LEVELS[1:] / LEVELS[:-1]).max() < 1.04
    assert all(bound in LEVELS for bound in SCALES["rate"]["bounds"])
    assert [len(scale["values"]) for scale in SCALES.values()] == [len(LEVELS) + 1, len(LEVELS) + 1, 251]
