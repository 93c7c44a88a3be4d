"""What a camera behind the windscreen sees of a simulated drive: ground, road, hills, sky, and cars that hide it."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipelines.driving.road import AHEAD_M, Drive

Array = NDArray[np.float32]
Image = NDArray[np.uint8]

HEIGHT_M, HORIZON, FOCAL = (
    1.4,
    0.36,
    0.72,
)  # of the camera; the horizon's row in shares of the rows, focal length of columns
LANE_M, ROAD_M = 3.5, 5.25  # a lane's width, and half the road's: three lanes
DASH_M = 8.0
CARS_M, CAR_WIDTH_M, CAR_TOP_M = (6.5, 5.2, 6.0), 2.9, 1.5  # the cars that hide the road: how far, wide and high
TEXTURE, TEXTURE_M = 512, 0.25  # cells of the ground's texture, and metres of one


@dataclass(frozen=True)
class Scene:
    """What a drive looks like: colours (3,), the ground's texture, and the hills around, all from 0 to 1."""

    ground: Array
    road: Array
    sky: Array
    hills: Array
    cars: Array
    texture: Array
    skyline: Array

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Scene":
        """Draw a scene."""
        light = rng.uniform(0.7, 1.1)
        texture = gaussian_filter(rng.normal(size=(TEXTURE, TEXTURE)), 1.0, mode="wrap")
        texture += 4 * gaussian_filter(rng.normal(size=(TEXTURE, TEXTURE)), 6.0, mode="wrap")
        waves = gaussian_filter(rng.normal(size=2048), 25, mode="wrap")
        trees = gaussian_filter(rng.normal(size=2048), 2, mode="wrap")
        skyline = 0.3 + 0.15 * waves / waves.std() + 0.06 * trees / trees.std()
        of = {
            "ground": (0.30, 0.38, 0.20),
            "road": (0.36, 0.36, 0.38),
            "sky": (0.60, 0.72, 0.88),
            "hills": (0.2, 0.3, 0.25),
        }
        colours = {name: np.float32(light * rng.normal(mean, 0.04)).clip(0, 1) for name, mean in of.items()}
        return cls(
            **colours,
            cars=rng.uniform(0.05, 0.75, (3, 3)).astype(np.float32),
            texture=(0.09 * texture / texture.std()).astype(np.float32),
            skyline=skyline.clip(0.05, 0.9).astype(np.float32),
        )


class Camera:
    """Draws the frames of a drive, of (rows, columns) pixels."""

    def __init__(self, drive: Drive, scene: Scene, size: tuple[int, int]) -> None:
        self.drive, self.scene, (self.rows, self.columns) = drive, scene, size
        self.horizon, self.focal = round(HORIZON * self.rows), FOCAL * self.columns
        below = np.arange(self.rows - self.horizon, dtype=np.float32) + 0.5
        self.far = np.minimum(HEIGHT_M * self.focal / below, AHEAD_M)[:, None]  # metres ahead, of each row
        self.across = ((np.arange(self.columns, dtype=np.float32) + 0.5) - self.columns / 2)[None] / self.focal

    def frame(self, i: int) -> Image:
        """Draw frame ``i``: (rows, columns, 3), RGB."""
        picture = np.concatenate([self._above(i), self._below(i)])
        for lane in np.argsort(CARS_M)[::-1]:
            self._car(picture, i, int(lane))
        return np.rint(255 * picture.clip(0, 1)).astype(np.uint8)

    def _above(self, i: int) -> Array:
        bearing = (self.drive.heading[i] + np.arctan(self.across[0])) / (2 * np.pi) * len(self.scene.skyline)
        places = np.arange(len(self.scene.skyline))
        top = np.interp(bearing, places, self.scene.skyline, period=len(places)) * self.horizon
        up = self.horizon - np.arange(self.horizon)[:, None] - 0.5
        hill = (top - up + 0.5).clip(0, 1)[..., None]
        bright = (0.8 + 0.4 * up / self.horizon)[..., None]
        return np.asarray(hill * self.scene.hills + (1 - hill) * self.scene.sky * bright, np.float32)

    def _below(self, i: int) -> Array:
        drive, far = self.drive, self.far
        side = self.across * far  # metres to the right of the camera
        sin, cos = np.sin(drive.heading[i]), np.cos(drive.heading[i])
        world = [drive.x[i] + cos * side + sin * far, drive.y[i] - sin * side + cos * far]
        cells = [np.asarray((axis / TEXTURE_M) % TEXTURE, np.float32) for axis in world]
        grain: Any = cv2.remap(self.scene.texture, cells[0], cells[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        grain = (grain * np.minimum(1, 12 / far))[..., None]
        lateral = side - self._centre(i)[:, None]
        pixel = np.broadcast_to(far / self.focal, side.shape)  # metres of one

        def stripe(middle: float, half: float) -> Array:
            return ((half - np.abs(lateral - middle)) / pixel + 0.5).clip(0, 1)[..., None]

        def blend(picture: Array, share: Array, colour: Array | float) -> Array:
            return np.asarray(picture + share * (colour - picture))

        picture = blend(self.scene.ground + grain, stripe(0, ROAD_M), self.scene.road + 0.4 * grain)
        dashed = ((drive.way[i] + far) % DASH_M < DASH_M / 2)[..., None]
        for middle, there in ((-ROAD_M + 0.3, 1.0), (ROAD_M - 0.3, 1.0), (-LANE_M / 2, dashed), (LANE_M / 2, dashed)):
            picture = blend(picture, stripe(middle, 0.12) * there, 0.9)
        return np.asarray(picture, np.float32)

    def _centre(self, i: int) -> NDArray[np.float64]:
        """Return how far right of the camera the road's centre is, at the distance of each row."""
        drive, ahead = self.drive, np.arange(AHEAD_M + 1)
        bend = np.interp(drive.way[i] + ahead, np.arange(len(drive.curvature)), drive.curvature)
        direction = np.concatenate([[0], np.cumsum(bend[:-1])]) - drive.turn[i]
        centre = np.concatenate([[0], np.cumsum(direction[:-1])]) - drive.offset[i]
        return np.interp(self.far[:, 0], ahead, centre)

    def _car(self, picture: Array, i: int, lane: int) -> None:
        """Draw a car that hides the road: it comes from its side, and keeps beside this one, not to its own lane."""
        hidden, far = self.drive.hidden[i], CARS_M[lane]
        if not hidden:
            return
        middle = (lane - 1) * LANE_M + self.drive.wander[lane, i] + (1 - hidden) * (9.0 if lane else -9.0)
        left, right = ((middle + side * CAR_WIDTH_M / 2) / far * self.focal + self.columns / 2 for side in (-1, 1))
        top, bottom = (self.horizon - z / far * self.focal for z in (CAR_TOP_M - HEIGHT_M, -HEIGHT_M))
        colour, glass = self.scene.cars[lane], bottom - 0.55 * (bottom - top)
        for first, last, edge, shade in ((top, bottom, 0.0, 1.0), (top, glass, 0.12, 0.45)):
            edge *= right - left
            rows = slice(max(round(first + edge / 4), 0), max(round(last), 0))
            picture[rows, max(round(left + edge), 0) : max(round(right - edge), 0)] = colour * shade
