"""Stage ``simulate_images``: the embedded scenes, in Cityscapes' layout.

Textured silhouettes before a textured ground, each in front of those before it in the list; at most half of one is
hidden. Ground and its colours are the city's; shape, pattern and colours of an object are its own, and say nothing of
each other. The polygon in the annotation is the one that is drawn: in whole pixels, what is hidden of it too.
"""

import json
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from shapely import Polygon

from pipelines.common.files import atomic_path
from pipelines.common.noise import smooth_noise
from pipelines.common.progress import track
from pipelines.common.stage import run
from pipelines.images.silhouettes import SHAPES, draw_silhouette
from pipelines.params.images import SimulateImages
from pipelines.params.read import read_params

Array = NDArray[np.float64]

RADIUS = (0.12, 0.3)  # of an object, in shares of the image's height
HIDDEN = 0.5  # of an object at most
LISTED_VAL = 0.25  # share of the cities in val
FINE = 4  # an edge is drawn on a grid that is finer by this
PATTERNS = ("stripes", "checks", "rings", "noise")
CONTRAST = 0.35  # of an object's mean colour to the ground's, in each of its two shades, at least


def place(rng: np.random.Generator, count: int, height: int, width: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Draw names and vertices (N, 2), in pixels, of a scene's objects, from behind to the front.

    Every third one is concave, smooth ones and angular ones take turns.
    """
    names, start = list(SHAPES), rng.integers(len(SHAPES))
    placed: list[tuple[str, NDArray[np.int64]]] = []
    seen: list[tuple[shapely.Geometry, float]] = []  # what is seen of those so far, and what there was
    for number in range(count):
        name = names[(start + number) % len(names)]
        for _ in range(20):
            radius = rng.uniform(*RADIUS) * height
            middle = rng.uniform(radius, [width - radius, height - radius])
            points = np.rint(draw_silhouette(rng, name) * radius + middle).astype(np.int64)
            polygon = Polygon(points)
            left = [(other.difference(polygon), area) for other, area in seen] if polygon.is_valid else []
            if polygon.is_valid and all(other.area >= (1 - HIDDEN) * area for other, area in left):
                placed.append((name, points))
                seen = [*left, (polygon, polygon.area)]
                break
    return placed


def render(ground: Array, objects: list[NDArray[np.int64]], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw silhouettes (N, 2), one before the other, on a ground (H, W, 3) from 0 to 1."""
    scene = ground.copy()
    for points in objects:
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0) + 1
        under = scene[y0:y1, x0:x1]
        height, width = under.shape[:2]
        mask = Image.new("L", (width * FINE, height * FINE))
        # Pillow's coordinates are those of pixels' centres.
        ImageDraw.Draw(mask).polygon([tuple(xy) for xy in (points - [x0, y0]) * FINE - 0.5], fill=255)
        share = np.asarray(mask, np.float64).reshape(height, FINE, width, FINE).mean(axis=(1, 3))[..., None] / 255
        shades = _shades(rng, under.mean(axis=(0, 1)))
        value = _pattern(rng, height, width)[..., None]
        under += share * (shades[0] + (shades[1] - shades[0]) * value - under)
    return np.rint(255 * scene.clip(0, 1)).astype(np.uint8)


def _ground(rng: np.random.Generator, size: int) -> Array:
    """Draw a city's ground (size, size, 3) from 0 to 1, whose edges join."""
    one, other = rng.uniform(0.2, 0.8, (2, 3))
    noise = smooth_noise(rng, size, rng.uniform(0.01, 0.05) * size)[..., None]
    return one + (other - one) * noise + rng.normal(0, 0.02, (size, size, 1))


def _shades(rng: np.random.Generator, ground: Array) -> Array:
    """Draw two colours (2, 3) that both differ from the ground's by `CONTRAST`."""
    while True:
        shades = rng.uniform(0, 1, 3) + rng.normal(0, 0.15, (2, 3))
        if (np.linalg.norm(shades.clip(0, 1) - ground, axis=1) >= CONTRAST).all():
            return shades.clip(0, 1)


def _pattern(rng: np.random.Generator, height: int, width: int) -> Array:
    """Draw a texture (H, W) from 0 to 1."""
    kind = rng.choice(PATTERNS)
    if kind == "noise":
        return smooth_noise(rng, max(height, width), 0.06 * max(height, width))[:height, :width]
    y, x = np.mgrid[:height, :width]
    angle, period = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.4) * max(height, width)
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    match kind:
        case "stripes":
            wave = np.sin(2 * np.pi * u / period)
        case "checks":
            wave = np.sin(2 * np.pi * u / period) * np.sin(2 * np.pi * v / period)
        case _:
            wave = np.sin(2 * np.pi * np.hypot(x - width / 2, y - height / 2) / period)
    return np.clip(0.5 + 1.5 * wave, 0, 1)


def simulate_images(folder: Path, params: SimulateImages) -> None:
    """Write the scenes into ``folder``: leftImg8bit/SPLIT/CITY/ and gtFine/SPLIT/CITY/."""
    height, width = params.height, 2 * params.height
    val_from = params.cities - max(1, round(LISTED_VAL * params.cities))
    numbers = [(city, scene) for city in range(params.cities) for scene in range(params.scenes)]
    with atomic_path(folder) as temporary:
        for city, scene in track(numbers, "simulate scenes"):
            if scene == 0:
                whole = _ground(np.random.default_rng((params.seed, city)), width)
            rng = np.random.default_rng((params.seed, city, scene))
            ground = np.roll(whole, rng.integers(width, size=2), axis=(0, 1))[:height]
            objects = place(rng, params.objects, height, width)
            pixels = render(ground, [points for _, points in objects], rng)
            border = [[0, 0], [width, 0], [width, height], [0, height]]
            told = [{"label": "ground", "polygon": border}]
            told += [{"label": name, "polygon": points.tolist()} for name, points in objects]
            split, name = ("train" if city < val_from else "val"), f"ground{city + 1:02d}"
            for kind, ending in (("leftImg8bit", "leftImg8bit.png"), ("gtFine", "gtFine_polygons.json")):
                path = temporary / kind / split / name / f"{name}_{scene:06d}_000019_{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                if kind == "gtFine":
                    path.write_text(json.dumps({"imgHeight": height, "imgWidth": width, "objects": told}))
                else:
                    Image.fromarray(pixels).save(path, compress_level=1)


def main(folder: Path) -> None:
    """Simulate the scenes into FOLDER with params.yaml's section simulate_images."""
    simulate_images(folder, read_params().simulate_images)


if __name__ == "__main__":
    run(main)
