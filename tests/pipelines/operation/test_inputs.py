"""Which frames a policy takes as inputs, and what stands in for one that is missing."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from archive import moving_cells
from domains import SIMULATED
from hypothesis import given
from hypothesis import strategies as st

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.operation.inputs import Source, StaleInput, check_age, choose_inputs
from pipelines.params.operation import Policy
from pipelines.radar.frame import Frame

POLICY = SIMULATED.policy
NOON = datetime(2024, 6, 1, 12)
SHAPE = (48, 64)


def policy(**changes: object) -> Policy:
    return POLICY.model_copy(update=changes)


STRICT = policy(max_missing=0)


def at_minutes(*minutes: float) -> np.ndarray:
    return np.datetime64(NOON, "s") + np.array([round(60 * minute) for minute in minutes], "timedelta64[s]")


def source_of(frames: list[Frame]) -> Source:
    by_time = {frame.time: frame for frame in frames}
    return Source("radar", np.array([frame.time for frame in frames], "datetime64[s]"), by_time.__getitem__)


def frames_at(*minutes: float) -> list[Frame]:
    """Frames of so many minutes after noon, each of its own number."""
    (one,) = moving_cells(NOON.isoformat(), 1, shape=(8, 8))
    return [
        replace(one, time=time, rain_rate=np.full((8, 8), 1 + number, np.float32), source=f"{number}.h5")
        for number, time in enumerate(at_minutes(*minutes))
    ]


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("minutes", "chosen", "step_s"),
    [
        ((0, 5, 10, 15, 20), (10, 15, 20), 300),
        ((20, 0, 10, 5, 15), (10, 15, 20), 300),  # in any order
        ((0, 5, 5, 10, 10, 10), (0, 5, 10), 300),  # repeated
        ((0, 10, 20, 30), (10, 20, 30), 600),  # at any step
        ((0, 30, 60, 65, 70, 75, 80), (70, 75, 80), 300),  # an old gap, and an old step
        ((0, 5, 10, 12, 15), (5, 10, 15), 300),  # one too many
        ((0, 5, 10), (0, 5, 10), 300),
    ],
)
def test_the_newest_frames_are_chosen(minutes: tuple[int, ...], chosen: tuple[int, ...], step_s: int) -> None:
    source = source_of(frames_at(*minutes))
    inputs = choose_inputs(source, 3, STRICT, "it")
    assert [frame.time for frame in inputs.observed] == at_minutes(*chosen).tolist()
    assert source.step_s() == step_s
    assert inputs.rain_rate.shape == (3, 8, 8) and inputs.gap_fills == {}


@pytest.mark.parametrize(
    ("minutes", "count", "words"),
    [
        ((), 3, "^radar: no frame that can be read$"),
        ((0,), 1, r"^radar: 1 frame\(s\), and two at least are needed$"),  # no step can be told from one
        ((0, 5), 3, "^radar: no good frame of 2024-06-01T11:55:00 UTC, and it needs the 3 up to 2024-06-01T12:05:00"),
        ((0, 5, 10, 15, 25), 3, "^radar: no good frame of 2024-06-01T12:20:00 UTC, .* of which 0 may be missing"),
        ((0, 5, 10, 15, 45), 3, "no good frame of 2024-06-01T12:35:00, 2024-06-01T12:40:00 UTC"),
    ],
)
def test_without_stand_ins_a_gap_is_one_line(minutes: tuple[int, ...], count: int, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        choose_inputs(source_of(frames_at(*minutes)), count, STRICT, "it")
    one_line(error)


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 6), st.integers(0, 3))
def test_what_is_chosen_is_observed_but_for_as_many_as_may_be_missing(
    ticks: list[int], count: int, max_missing: int
) -> None:
    source = source_of(frames_at(*(5 * tick for tick in ticks)))
    try:
        inputs = choose_inputs(source, count, policy(max_missing=max_missing, stand_in="repeated"), "it")
    except UserError as error:
        assert str(error).startswith("radar: ")
        assert not {max(ticks, default=0) - back for back in range(12)} <= set(ticks)
        return
    assert inputs.observed[-1].time == source.times[-1]
    step = np.timedelta64(source.step_s(), "s")
    clock = (source.times[-1] - np.arange(count)[::-1] * step).tolist()
    assert sorted([*(f.time for f in inputs.observed), *inputs.gap_fills]) == clock
    assert len(inputs.gap_fills) <= max_missing
    by_time = {frame.time: frame.rain_rate for frame in inputs.observed}
    for rain_rate, time in zip(inputs.rain_rate, clock, strict=True):
        if np.datetime64(time) in by_time:
            np.testing.assert_array_equal(rain_rate, by_time[np.datetime64(time)])


def test_a_frame_is_repeated_or_moved_half_the_way_where_one_is_missing() -> None:
    """Cells move by (2, 1) pixels a frame, so between the frames around a gap by twice that."""
    frames = moving_cells(NOON.isoformat(), 5, shape=SHAPE)
    there = [frame for number, frame in enumerate(frames) if number != 3]
    repeated = choose_inputs(source_of(there), 3, policy(stand_in="repeated"), "it")
    np.testing.assert_array_equal(repeated.rain_rate[1], frames[2].rain_rate)
    assert [frame.time for frame in repeated.observed] == [frames[2].time, frames[4].time]
    assert repeated.gap_fills == {
        frames[3].time: ("no frame of this time", f"{frames[2].source} of {frames[2].time}, repeated")
    }
    moved = choose_inputs(source_of(there), 3, policy(stand_in="advected"), "it")
    inside = np.s_[8:-8, 8:-8]
    error = np.abs(moved.rain_rate[1] - frames[3].rain_rate)[inside].mean()
    assert error < 0.25 * np.abs(frames[2].rain_rate - frames[3].rain_rate)[inside].mean()
    assert moved.gap_fills[frames[3].time][1].endswith("advected")
    np.testing.assert_array_equal(moved.rain_rate[[0, 2]], [frames[2].rain_rate, frames[4].rain_rate])


def test_two_missing_in_a_row_are_moved_each_its_own_way() -> None:
    frames = moving_cells(NOON.isoformat(), 5, shape=SHAPE)
    there = [frames[0], frames[1], frames[4]]
    inputs = choose_inputs(source_of(there), 4, policy(max_missing=2), "it")
    inside = np.s_[10:-10, 10:-10]
    for number in (1, 2):
        wanted = frames[1 + number].rain_rate[inside]
        others = [frames[other].rain_rate[inside] for other in range(5) if other != 1 + number]
        error = np.abs(inputs.rain_rate[number][inside] - wanted).mean()
        assert all(error < np.abs(other - wanted).mean() for other in others)


@pytest.mark.parametrize(
    ("minutes", "max_missing", "words"),
    [
        ((0, 5, 20), 1, "no good frame of 2024-06-01T12:10:00, 2024-06-01T12:15:00 UTC"),
        ((15, 20), 1, "nothing can stand in for the frame of 2024-06-01T12:10:00 UTC"),  # none before it
        ((-10, 15, 20), 2, "nothing can stand in for the frame of 2024-06-01T12:10:00 UTC"),  # too far before
    ],
)
def test_what_nothing_may_stand_in_for_is_one_line(minutes: tuple[int, ...], max_missing: int, words: str) -> None:
    times = [*minutes, *(20.0 - 5 * back for back in range(30, 42))]  # the step is told by older ones
    with pytest.raises(UserError, match=words) as error:
        choose_inputs(source_of(frames_at(*times)), 3, policy(max_missing=max_missing), "it")
    one_line(error)


def test_a_frame_that_knows_too_little_counts_as_missing_and_the_newest_is_refused() -> None:
    frames = moving_cells(NOON.isoformat(), 5, shape=SHAPE)
    blind = np.full(SHAPE, np.nan, np.float32)
    blind[:2] = 1.0  # 2 of 48 rows: 4.17 %
    frames[3] = replace(frames[3], rain_rate=blind)
    inputs = choose_inputs(source_of(frames), 3, policy(min_valid_share=0.05), "it")
    assert inputs.gap_fills[frames[3].time][0] == "its frame knows 4.17% of the grid, and 5.00% are wanted"
    assert frames[3] not in inputs.observed
    assert choose_inputs(source_of(frames), 3, policy(min_valid_share=0.04), "it").gap_fills == {}

    with pytest.raises(
        UserError, match=r"the newest frame, of 2024-06-01T12:15:00 UTC, knows 4.17% of the grid"
    ) as error:
        source_of(frames[:4]).newest(policy(min_valid_share=0.05))
    one_line(error)
    nothing = replace(frames[4], rain_rate=np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(UserError, match=r"knows 0.00% of the grid"):
        source_of([*frames[:4], nothing]).newest(policy(min_valid_share=0.0))


def test_a_frame_that_can_t_be_read_is_passed_over_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    frames = {frame.time: frame for frame in frames_at(0, 5, 10, 15)}

    def read(time: np.datetime64) -> Frame:
        if time == at_minutes(15)[0]:
            raise UnreadableFile("15.h5", "cut off")
        return frames[time]

    source = Source("radar", np.array(list(frames)), read)
    assert choose_inputs(source, 3, STRICT, "it").observed[-1].time == at_minutes(10)[0]
    source.newest(STRICT)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == ["15.h5: cut off"]


def test_age() -> None:
    newest, now = np.datetime64(NOON, "s"), NOON + timedelta(minutes=31)
    check_age(newest, np.datetime64(now, "s"), 31, "here")
    check_age(newest, np.datetime64(now, "s"), None, "here")
    with pytest.raises(
        StaleInput, match="here: the newest frame is of 2024-06-01T12:00:00 UTC, 31 minutes ago, and 30"
    ):
        check_age(newest, np.datetime64(now, "s"), 30, "here")
