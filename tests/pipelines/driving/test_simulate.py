"""The simulated drive is what it is meant to be: a lag, roads of both kinds, and cars that tell nothing."""

import cv2
import numpy as np
import pytest
from driving_files import small_simulation

from pipelines.common.provenance import sha256
from pipelines.driving.camera import Camera, Scene
from pipelines.driving.road import LAG_S, Drive, draw_drive
from pipelines.driving.simulate import simulate_drives


@pytest.fixture(scope="module")
def drive() -> Drive:
    return draw_drive(np.random.default_rng(3), 120, 10)


def still(drive: Drive, **changes: float) -> Drive:
    """One frame of a car in the middle of a straight road, but for what is given."""
    at = {name: np.array([changes.get(name, 0.0)]) for name in Drive.__annotations__}
    at |= {"curvature": np.full(300, changes.get("curvature", 0.0)), "wander": np.zeros((3, 1))}
    return Drive(**at)


def test_the_same_seed_is_the_same_bytes(tmp_path):
    for name in "ab":
        simulate_drives(tmp_path / name, small_simulation(drives=1, seconds=2))
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_the_car_keeps_to_its_road_and_the_wheel_follows_it_late(drive):
    assert np.abs(drive.offset).max() < 5.25  # half the road
    bend = np.interp(drive.way, np.arange(len(drive.curvature)), drive.curvature)
    needed = np.degrees(np.arctan(2.7 * bend)) * 15
    lags = np.arange(0, 20)
    alike = [
        np.corrcoef(needed[: len(needed) - 20], drive.angle[lag : len(drive.angle) - 20 + lag])[0, 1] for lag in lags
    ]
    assert 0.1 <= lags[int(np.argmax(alike))] / 10 <= LAG_S
    assert max(alike) > 0.8
    assert (np.abs(bend) < 1e-6).mean() > 0.2
    assert drive.angle.std() > 15


def test_the_heading_turns_as_the_wheel_says(drive):
    """A car of wheelbase 2.7 m turns by v·tan(δ) / 2.7 a second, δ being a fifteenth of the wheel's angle."""
    rate = drive.speed * np.tan(np.radians(drive.angle / 15)) / 2.7
    assert np.diff(drive.heading) == pytest.approx(0.1 * (rate[1:] + rate[:-1]) / 2, abs=0.004)


@pytest.mark.parametrize("rate", [3, 20, 30])
def test_frames_are_as_many_a_second_as_asked_for(rate):
    """By the way that the car makes from frame to frame at its speed, whatever the simulation's own steps are."""
    drive = draw_drive(np.random.default_rng(4), 20, rate)
    assert len(drive.angle) == 20 * rate
    assert np.diff(drive.way).sum() == pytest.approx(drive.speed[:-1].sum() / rate, rel=0.02)


def test_a_road_that_bends_to_the_right_is_seen_to(drive):
    scene = Scene.draw(np.random.default_rng(1))
    frames = {c: Camera(still(drive, curvature=c), scene, (66, 200)).frame(0) for c in (-0.01, 0.0, 0.01)}
    camera = Camera(still(drive), scene, (66, 200))
    row = camera.horizon + 8  # 24 m ahead
    edges = {c: np.flatnonzero(frame[row].min(-1) > 180) for c, frame in frames.items()}
    middle = {c: (at.min() + at.max()) / 2 for c, at in edges.items()}
    far = float(camera.far[8, 0])
    assert middle[0.0] == pytest.approx(99.5, abs=1)
    assert middle[0.01] - middle[0.0] == pytest.approx(0.01 * far**2 / 2 / far * camera.focal, rel=0.25)
    assert middle[-0.01] - middle[0.0] == pytest.approx(-(middle[0.01] - middle[0.0]), abs=1.5)


def test_hills_move_to_the_left_when_the_car_turns_right(drive):
    scene = Scene.draw(np.random.default_rng(1))
    turned = 0.05
    before, after = (
        cv2.cvtColor(Camera(still(drive, heading=heading), scene, (66, 200)).frame(0), cv2.COLOR_RGB2GRAY)[:23]
        for heading in (0.0, turned)
    )
    way = round(turned * 0.72 * 200)
    same = {
        shift: np.abs(after[:, 75:125].astype(int) - before[:, 75 + shift : 125 + shift]).mean()
        for shift in range(-9, 10)
    }
    assert min(same, key=same.__getitem__) == way == 7


def test_cars_hide_the_road_for_some_seconds_and_know_nothing_of_it(drive):
    hidden = drive.hidden == 1
    assert 0.1 < hidden.mean() < 0.4
    assert abs(np.corrcoef(drive.wander[1], drive.angle)[0, 1]) < 0.5
    scene = Scene.draw(np.random.default_rng(1))
    pictures = [Camera(still(drive, hidden=1.0, curvature=c), scene, (66, 200)).frame(0) for c in (-0.02, 0.02)]
    seen = [Camera(still(drive, curvature=c), scene, (66, 200)).frame(0) for c in (-0.02, 0.02)]
    differs, differed = ((np.abs(a.astype(int) - b) > 20).any(-1)[24:].mean() for a, b in (pictures, seen))
    assert differs < differed / 3
