"""Which frames belong together: nearest in time, no bridge over a gap, no session on both sides of a split."""

import numpy as np
import pytest

from pipelines.common.errors import UserError
from pipelines.driving.rows import in_order, runs
from pipelines.driving.sequences import SPLITS, find_copies, number_sequences, sample, split_frames
from pipelines.driving.view import fit


def test_frames_are_the_nearest_in_time_and_the_count_begins_anew_after_a_gap():
    time = np.array([0, 0.05, 0.1, 0.16, 0.2, 0.25, 5.03, 5.08, 5.13])
    assert sample(time, 10.0, 0.25).tolist() == [0, 2, 4, 6, 8]
    assert sample(time, None, 0.25).tolist() == list(range(9))
    with pytest.raises(ValueError, match="it has 20 frames a second, and rate is 30"):
        sample(time, 30.0, 0.25)


def test_one_wrong_time_costs_one_row():
    assert in_order(np.array([1, 2, 99, 3, 4, 4, 5.0])).tolist() == [0, 1, 3, 5, 6]
    assert in_order(np.array([])).tolist() == []
    assert runs([1, 2, 3, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]


def test_a_sequence_ends_at_a_gap_a_session_and_a_split():
    session, split = np.array([0, 0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1, 1])
    time = np.array([0, 0.1, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert number_sequences(session, split, time, 0.25).tolist() == [0, 0, 1, 2, 2, 3, 3]


def test_copies_are_what_has_fewer_frames_and_shares_them():
    frames = range(40)
    contents = [set(frames[:5]), set(frames[:20]), set(frames[20:]), set(frames[19:29]), set(frames[10:20])]
    assert find_copies(contents) == {0: (1, 5), 3: (2, 9), 4: (1, 10)}
    assert find_copies([set(frames[:10]), set(frames[9:19])]) == {}
    assert find_copies([set(frames[:10])] * 3) == {1: (0, 10), 2: (0, 10)}


def splits(session, time, **changes):
    options = {"stretch_minutes": 0.5, "margin_s": 2.0, "validation_share": 0.2, "test_share": 0.2, "seed": 1}
    return split_frames(session, time, [None] * (int(session.max()) + 1), **options | changes)


def test_sessions_are_never_parted():
    session = np.repeat(np.arange(10), 50)
    split = splits(session, np.tile(np.arange(50) / 10, 10))
    of_session = split.reshape(10, 50)
    assert (of_session == of_session[:, :1]).all()
    assert np.bincount(of_session[:, 0], minlength=4).tolist() == [6, 2, 2, 0]


def test_false_starts_are_no_split_of_their_own():
    """Two sessions of three frames beside one of five minutes, which is parted as if it were the only one."""
    session = np.repeat([0, 1, 2], [3, 3, 3000])
    time = np.concatenate([np.arange(3) / 10, np.arange(3) / 10 + 9, np.arange(3000) / 10 + 99])
    for seed in range(5):
        split = splits(session, time, seed=seed)
        assert (np.bincount(split[session == 2], minlength=4)[:3] > 100).all()
    equal = splits(np.repeat([0, 1, 2], 1000), np.tile(np.arange(1000) / 10, 3))
    assert (equal.reshape(3, 1000) == equal.reshape(3, 1000)[:, :1]).all()


def test_one_session_is_parted_into_stretches_with_a_margin_between():
    time = np.arange(3000) / 10  # ten stretches of half a minute
    split = splits(np.zeros(3000, int), time)
    used = split != SPLITS.index("unused")
    assert {SPLITS[code] for code in split} == set(SPLITS)
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        apart = np.abs(time[split == one][:, None] - time[split == other][None]).min()
        assert apart > 2.0
    borders = np.flatnonzero(np.diff(split[used]))
    assert (~used).sum() == 20 * len(borders)
    with pytest.raises(UserError, match="1 stretches of 30 minutes"):
        splits(np.zeros(3000, int), time, stretch_minutes=30.0)


def test_the_sky_and_both_sides_are_cut_off_and_nothing_is_distorted():
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, :, 0], image[:, :, 1] = np.arange(120)[:, None], np.arange(160)[None]
    seen = fit(image, 32, 96)  # 53 of 120 rows, each cell 1.67 pixels wide and high
    assert seen.shape == (32, 96, 3)
    assert seen[0, 0, 0] == pytest.approx(67, abs=1)
    assert seen[-1, 0, 0] == pytest.approx(119, abs=1)
    wide = fit(image, 96, 96)  # 20 columns less on both sides
    assert (int(wide[0, 0, 1]), int(wide[0, -1, 1])) == (pytest.approx(20, abs=1), pytest.approx(139, abs=1))
    assert np.array_equal(fit(image, 120, 160), image)
