"""The embedded clips: UCF-101's layout, real files, and classes that no single frame tells apart where it mustn't."""

from dataclasses import replace

import av
import numpy as np
import pytest

from pipelines.common.provenance import sha256
from pipelines.params.video import SimulateVideo
from pipelines.video.simulate import (
    APPEARANCE,
    BOTH,
    CLASSES,
    FAST,
    MOTION,
    SLOW,
    SPEED,
    Phases,
    Pose,
    Scene,
    frames,
    pose,
    render,
    simulate_video,
)

SMALL = SimulateVideo(seed=3, groups=4, clips=2, frames=6, rate=12, size=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulated") / "video"
    simulate_video(path, SMALL)
    return path


def lines(path):
    return [line.split() for line in path.read_text().splitlines()]


def test_layout(folder):
    """As UCF-101's own read: number and name; path and number; path. No group is in both lists."""
    classes = {name: number for number, name in lines(folder / "classInd.txt")}
    assert list(classes) == CLASSES
    train, test = lines(folder / "trainlist01.txt"), lines(folder / "testlist01.txt")
    assert all(number == classes[path.split("/")[0]] for path, number in train)
    listed = [row[0] for row in train + test]
    assert sorted(listed) == sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))
    assert len(listed) == len(CLASSES) * 4 * 2
    groups = [{row[0].split("_")[2] for row in rows} for rows in (train, test)]
    assert groups == [{"g01", "g02", "g03"}, {"g04"}]


def test_files_are_real_videos(folder):
    for name, codec in (("v_Rings_g01_c01.avi", "mpeg4"), ("v_Rings_g01_c02.mp4", "h264")):
        with av.open(str(folder / "Rings" / name)) as video:
            stream = video.streams.video[0]
            assert stream.codec_context.name == codec
            assert stream.average_rate == 12
            images = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
        assert np.shape(images) == (6, 32, 32, 3)
    # Which of the two it is says nothing about the class.
    assert {path.suffix for path in folder.glob("*/*c02*")} == {".mp4"}


def test_same_bytes_again(folder, tmp_path):
    simulate_video(tmp_path / "again", SMALL)
    assert sha256(tmp_path / "again") == sha256(folder)
    simulate_video(tmp_path / "other", SMALL.model_copy(update={"seed": 4}))
    assert sha256(tmp_path / "other") != sha256(folder)


def test_encoding_changes_little(folder):
    rng = np.random.default_rng((3, 0, CLASSES.index("Checks"), 0))
    drawn = list(frames(Scene.draw(np.random.default_rng((3, 0)), 32), "Checks", Phases.draw(rng), 6))
    with av.open(str(folder / "Checks" / "v_Checks_g01_c01.avi")) as video:
        read = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert np.abs(np.subtract(read, drawn, dtype=float)).mean() < 15


# For each pair of classes: what makes of one clip's phases another's, whose frame t is the same. All phases are drawn
# evenly from a closed cycle, and a shift of a cycle keeps that: so frame t has one distribution in both classes.
TWINS = {
    ("MoveLeft", "MoveRight"): lambda phases, t: replace(phases, x=(phases.x - 2 * SPEED * t) % 1),
    ("StripesUp", "StripesDown"): lambda phases, t: replace(phases, y=(phases.y - 2 * SPEED * t) % 1),
    ("DotsUp", "DotsDown"): lambda phases, t: replace(phases, y=(phases.y - 2 * SPEED * t) % 1),
    ("Counterclockwise", "Clockwise"): lambda phases, t: replace(phases, angle=(phases.angle - 2 * SPEED * t) % 1),
    ("ZoomOut", "ZoomIn"): lambda phases, t: replace(phases, cycle=(phases.cycle - 2 * SPEED * t) % 1),
    ("SwingSlow", "SwingFast"): lambda phases, t: replace(phases, cycle=(phases.cycle + (SLOW - FAST) * t) % 1),
}


def test_every_class_is_of_one_kind():
    assert {name for pair in TWINS for name in pair} == set(MOTION + BOTH)
    assert set(CLASSES) == set(MOTION + APPEARANCE + BOTH)


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_no_frame_tells_a_pair_apart(one, other):
    scene = Scene.draw(np.random.default_rng(0), 32)
    rng = np.random.default_rng(1)
    for t in range(24):
        phases = Phases.draw(rng)
        twin = TWINS[one, other](phases, t)
        same = render(scene, one, pose(one, phases, t)), render(scene, other, pose(other, twin, t))
        np.testing.assert_allclose(*same, atol=1e-9)
        if t:  # and the motion does
            assert pose(one, phases, t + 1) != pose(other, twin, t + 1)


def test_phases_are_drawn_evenly():
    drawn = np.array([list(vars(Phases.draw(np.random.default_rng((0, i)))).values()) for i in range(2000)])
    counts = np.stack([np.histogram(column, 10, (0, 1))[0] for column in drawn.T])
    assert counts.sum() == drawn.size
    chi_square = ((counts - 200) ** 2 / 200).sum(axis=1)
    assert (chi_square < 27.9).all()  # 9 degrees of freedom: 0.1 %


@pytest.fixture
def flat():
    """A scene whose background is one colour, so that a frame is its figure."""
    scene = Scene.draw(np.random.default_rng(5), 60)
    return replace(scene, background=np.full((60, 60, 3), 0.5))


@pytest.mark.parametrize(
    ("name", "shift", "axis"),
    [("MoveRight", 2, 1), ("MoveLeft", -2, 1), ("StripesDown", 2, 0), ("DotsUp", -2, 0)],
)
def test_direction(flat, name, shift, axis):
    """A thirtieth of 60 pixels a frame."""
    phases = Phases.draw(np.random.default_rng(1))
    before, after = (render(flat, name, pose(name, phases, t)) for t in (3, 4))
    np.testing.assert_allclose(np.roll(before, shift, axis), after, atol=1e-9)


@pytest.mark.parametrize(("name", "quarters"), [("Clockwise", -1), ("Counterclockwise", 1)])
def test_turn(flat, name, quarters):
    phases = Phases(0.5, 0.5, 0.3, 0.0, 0.0)
    assert pose(name, phases, 30).angle == pytest.approx(0.3)  # a round
    turned = replace(pose(name, phases, 0), angle=0.3 - quarters / 4)
    before, after = render(flat, name, pose(name, phases, 0)), render(flat, name, turned)
    np.testing.assert_allclose(np.rot90(before, quarters), after, atol=1e-9)
    assert (pose(name, phases, 1).angle > 0.3) == (quarters < 0)


def test_zoom_and_swing(flat):
    phases = Phases(0.5, 0.5, 0.3, 0.2, 0.0)
    areas = [(render(flat, "ZoomIn", pose("ZoomIn", phases, t)) != 0.5).any(axis=-1).sum() for t in range(20)]
    assert (np.diff(areas) > 0).all()
    first, last = pose("ZoomOut", phases, 0).scale, pose("ZoomOut", phases, 5).scale
    assert first > last
    places = {name: [pose(name, phases, t).x for t in range(40)] for name in ("SwingSlow", "SwingFast")}
    turns = {name: (np.diff(np.sign(np.diff(x))) != 0).sum() for name, x in places.items()}
    assert turns == {"SwingSlow": 2, "SwingFast": 6}


def test_drift_goes_everywhere():
    ways = []
    for i in range(200):
        phases = Phases.draw(np.random.default_rng(i))
        a, b = (pose("Rings", phases, t) for t in (0, 1))
        ways.append([(b.x - a.x + 0.5) % 1 - 0.5, (b.y - a.y + 0.5) % 1 - 0.5])
    assert np.allclose(np.hypot(*np.transpose(ways)), SPEED)
    assert np.abs(np.mean(ways, axis=0)).max() < 0.15 * SPEED


def test_groups_differ_and_classes_share_them():
    scenes = [Scene.draw(np.random.default_rng((3, group)), 32) for group in range(2)]
    at = Pose(0.25, 0.25, 0.0)
    corner = np.s_[-6:, -6:]  # background
    of_classes = [render(scenes[0], name, at)[corner] for name in CLASSES]
    assert all(np.array_equal(of_classes[0], other) for other in of_classes)
    assert not np.allclose(of_classes[0], render(scenes[1], CLASSES[0], at)[corner], atol=0.05)


def test_stage(tmp_path, monkeypatch):
    from conftest import write_params

    from pipelines.video.simulate import main

    write_params(tmp_path, {"simulated": {}})
    text = (tmp_path / "params.yaml").read_text()
    start = text.index("simulate_video:")
    small = "simulate_video: {seed: 3, groups: 4, clips: 2, frames: 6, rate: 12, size: 32}\n"
    following = text.find("\n", text.index("size:", start)) + 1
    (tmp_path / "params.yaml").write_text(text[:start] + small + text[following:])
    monkeypatch.chdir(tmp_path)
    main(tmp_path / "video")
    assert len(list((tmp_path / "video").iterdir())) == len(CLASSES) + 3
