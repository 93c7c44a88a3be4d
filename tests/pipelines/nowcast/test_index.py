"""Events, windows and splits: by hand, against brute force, and what must never happen."""

import os
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from archive import moving_cells, write_archive, write_store
from hypothesis import given
from hypothesis import strategies as st

from pipelines.common.errors import UserError
from pipelines.common.executor import LOCAL
from pipelines.nowcast.events import draw_splits, find_events, window_starts
from pipelines.nowcast.index import COLUMNS, index
from pipelines.nowcast.methods.climatology import Climatology
from pipelines.nowcast.wet_areas import corners, wet_areas
from pipelines.nowcast.windows import RadarWindows
from pipelines.params.nowcast import Index
from pipelines.params.read import read_params
from pipelines.radar.store import open_frames

OURS = read_params(Path(__file__).parents[3] / "params.yaml").index


def settings(**changes: object) -> Index:
    """The repository's settings of the stage, with changes, checked."""
    return Index.model_validate(OURS.model_dump() | changes)


def at_minutes(*minutes: float) -> np.ndarray:
    """Times so many minutes after a midnight."""
    return np.datetime64("2024-06-01", "s") + np.round(np.array(minutes) * 60).astype("timedelta64[s]")


def wet(pattern: str) -> np.ndarray:
    """One frame a letter; w is wet."""
    return np.array([letter == "w" for letter in pattern])


# Events


@pytest.mark.parametrize(
    ("minutes", "pattern", "events"),
    [
        # From the first wet frame to the last one; dry frames in between belong to it.
        ((0, 5, 10, 15, 20), "-w-w-", [-1, 0, 0, 0, -1]),
        # 60 dry minutes end an event, 55 don't.
        (range(0, 75, 5), "w" + "-" * 11 + "w--", [0] * 13 + [-1, -1]),
        (range(0, 75, 5), "w" + "-" * 12 + "w-", [0] + [-1] * 12 + [1, -1]),
        # Missing hours end one too, a short gap doesn't.
        ((0, 5, 65, 70), "wwww", [0, 0, 0, 0]),
        ((0, 5, 70, 75), "wwww", [0, 0, 1, 1]),
        ((0, 5, 10), "---", [-1, -1, -1]),
        ((), "", []),
    ],
)
def test_events_by_hand(minutes: tuple[int, ...], pattern: str, events: list[int]) -> None:
    assert find_events(at_minutes(*minutes), wet(pattern), settings(dry_hours=1.0)).tolist() == events


def test_a_long_event_is_cut() -> None:
    time = at_minutes(*range(0, 60, 10))
    assert find_events(time, wet("wwwwww"), settings(max_event_hours=0.5)).tolist() == [0, 0, 0, 1, 1, 1]
    assert find_events(time, wet("wwwwww"), settings(max_event_hours=24.0)).tolist() == [0] * 6
    # The next event's number follows the last piece's.
    time = at_minutes(0, 10, 20, 30, 200, 210)
    assert find_events(time, wet("wwwwww"), settings(max_event_hours=0.5)).tolist() == [0, 0, 0, 1, 2, 2]


def test_a_store_that_changed_is_looked_at_anew(tmp_path: Path) -> None:
    frames = moving_cells("2024-06-01T12:00", 12)
    store = write_store(tmp_path / "radar.zarr", frames[:5] + frames[6:])
    mark, params = store / "zarr.json", settings(size=32, stride=32)
    before = mark.stat()

    def of_frames() -> list[float]:
        with wet_areas(store, open_frames(store)["rainfall_flux"], params, LOCAL, tmp_path) as found:
            return found.of_frames.tolist()

    def by_hand() -> list[float]:
        rain = open_frames(store)["rainfall_flux"].to_numpy()
        return [(frame >= params.wet_rate).sum() / np.isfinite(frame).sum() for frame in rain]

    assert of_frames() == by_hand()
    write_store(store, frames)
    # Its content is the same, and from DVC's cache by a hard link so is its time.
    os.utime(mark, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(by_hand()) == 12
    assert of_frames() == by_hand()


# Windows


def test_windows_by_hand() -> None:
    params = settings(inputs=2, leads=1)
    one_event = np.zeros(7, dtype=int)
    assert window_starts(at_minutes(0, 5, 10, 15, 20, 25, 30), one_event, params).tolist() == [0, 1, 2, 3, 4]
    # No frame of minute 15: no window over it.
    assert window_starts(at_minutes(0, 5, 10, 20, 25, 30, 35), one_event, params).tolist() == [0, 3, 4]
    # A frame too many at minute 12 is no frame at the usual step.
    assert window_starts(at_minutes(0, 5, 10, 12, 15, 20, 25), one_event, params).tolist() == [0, 4]
    # No window with frames of two events, or of none.
    time = at_minutes(0, 5, 10, 15, 20, 25, 30)
    assert window_starts(time, np.array([0, 0, 0, 1, 1, 1, -1]), params).tolist() == [0, 3]
    assert window_starts(time, np.full(7, -1), params).tolist() == []
    assert window_starts(time[:2], one_event[:2], params).tolist() == []


def test_time_stride_counts_from_each_event_s_first_window() -> None:
    params = settings(inputs=2, leads=1, time_stride=3)
    event = np.array([-1, *[0] * 7, *[1] * 6])
    assert window_starts(at_minutes(*range(0, 70, 5)), event, params).tolist() == [1, 4, 8, 11]


clocks = st.lists(st.tuples(st.sampled_from([5, 5, 5, 5, 5, 10, 2.5, 70]), st.booleans()), min_size=2, max_size=80)


@given(clocks, st.integers(2, 4), st.integers(1, 4), st.sampled_from([0.5, 2.0, 24.0]), st.integers(0, 5))
def test_no_window_bridges_anything_and_splits_share_no_frame(
    clock: list[tuple[float, bool]], inputs: int, leads: int, longest: float, seed: int
) -> None:
    time = at_minutes(*np.cumsum([step for step, _ in clock]))
    is_wet = np.array([of_frame for _, of_frame in clock])
    params = settings(inputs=inputs, leads=leads, max_event_hours=longest, seed=seed)
    event = find_events(time, is_wet, params)
    starts = window_starts(time, event, params).tolist()

    steps = Counter(np.diff(time).tolist())
    usual = min(step for step, count in steps.items() if count == max(steps.values()))
    length = inputs + leads
    brute_force = [
        first
        for first in range(len(time) - length + 1)
        if set(event[first : first + length]) == {event[first]}
        and event[first] >= 0
        and all(b - a == usual for a, b in pairwise(time[first : first + length].tolist()))
    ]
    assert starts == brute_force

    for number in set(event.tolist()) - {-1}:
        inside = np.flatnonzero(event == number)
        assert np.array_equal(inside, np.arange(inside[0], inside[-1] + 1))
        assert time[inside[-1]] - time[inside[0]] < np.timedelta64(round(longest * 3600), "s")
    assert (event[is_wet] >= 0).all()

    numbers = np.unique(event[starts])
    if numbers.size < 3:
        with pytest.raises(UserError):
            draw_splits(numbers, params)
        return
    splits = draw_splits(numbers, params)
    assert set(splits.values()) == {"train", "validation", "test"}
    frames: dict[str, set[int]] = {name: set() for name in splits.values()}
    for first in starts:
        frames[splits[event[first]]] |= set(range(first, first + length))
    assert not any(a & b for a, b in combinations(frames.values(), 2))


# Splits


@pytest.mark.parametrize(
    ("events", "counts"),
    [(3, (1, 1, 1)), (5, (3, 1, 1)), (10, (6, 2, 2)), (40, (24, 8, 8))],
)
def test_splits_have_their_shares(events: int, counts: tuple[int, int, int]) -> None:
    drawn = Counter(draw_splits(np.arange(events), settings(validation_share=0.2, test_share=0.2)).values())
    assert (drawn["train"], drawn["validation"], drawn["test"]) == counts


def test_splits_are_the_seed_s() -> None:
    events = np.arange(30)
    assert draw_splits(events, settings(seed=1)) == draw_splits(events, settings(seed=1))
    assert draw_splits(events, settings(seed=1)) != draw_splits(events, settings(seed=2))


@pytest.mark.parametrize("events", [0, 1, 2])
def test_too_few_events_are_one_line_that_says_what_to_do(events: int) -> None:
    with pytest.raises(UserError, match=rf"^index: {events} event.*index\.max_event_hours") as error:
        draw_splits(np.arange(events), OURS)
    assert "\n" not in str(error.value)


# The stage


@given(st.integers(16, 300), st.integers(16, 300), st.integers(1, 400))
def test_corners_reach_the_edge_and_never_over_it(length: int, size: int, stride: int) -> None:
    length = max(length, size)
    first = corners(length, size, stride)
    assert first[0] == 0
    assert first[-1] + size == length
    assert (np.diff(first) > 0).all()
    assert (np.diff(first) <= stride).all()


SMALL = {"inputs": 3, "leads": 2, "size": 32, "stride": 16, "train_wet_share": 0.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("index") / "radar.zarr", shape=(40, 56))


@pytest.fixture(scope="module")
def table(store: Path) -> pd.DataFrame:
    windows = store.with_name("windows.parquet")
    index({"radar": store}, windows, settings(**SMALL))
    return pd.read_parquet(windows)


def test_rows_are_windows_of_the_store(store: Path, table: pd.DataFrame) -> None:
    assert table.columns.tolist() == COLUMNS
    # 5 events of 14 frames, 10 windows each, from the corners (0, 8) down and (0, 16, 24) across.
    assert len(table) == 5 * 10 * 2 * 3
    assert sorted(table["y0"].unique()) == [0, 8]
    assert sorted(table["x0"].unique()) == [0, 16, 24]
    assert table.groupby("event")["split"].nunique().eq(1).all()
    assert table["store"].unique().tolist() == [store.as_posix()]
    frames = open_frames(store)
    rain, time = frames["rainfall_flux"].to_numpy(), frames["time"].to_numpy()
    for row in table.sample(40, random_state=0).itertuples():
        window = rain[row.t0 : row.t0 + 5, row.y0 : row.y0 + 32, row.x0 : row.x0 + 32]
        assert row.time == time[row.t0 + 2]
        assert row.wet_fraction == pytest.approx((window >= 0.1).mean())


def test_the_climatology_is_of_every_frame_of_train_that_a_window_has(tmp_path: Path) -> None:
    store = write_archive(tmp_path / "radar.zarr", shape=(40, 56))
    other = write_store(tmp_path / "other.zarr", moving_cells("2024-07-01T12:00", 8, shape=(40, 56), seed=9))
    stores, params = {"radar": store, "other": other}, settings(**SMALL, splits={"other": "train"}, rates=[0.1, 1, 5])
    for wet_share in (0.0, 0.2):  # it leaves out windows, and no frame
        index(stores, tmp_path / "windows.parquet", params.model_copy(update={"train_wet_share": wet_share}))
        told = Climatology.read(tmp_path / "climatology.json")
        splits = pd.read_parquet(tmp_path / "windows.parquet").groupby(["store", "event"])["split"].first()
        pixels = []
        for path in (store, other):
            frames = open_frames(path)["rainfall_flux"].to_numpy().reshape(-1, 8 if path is other else 14, 40, 56)
            pixels += [frames[i] for i, split in enumerate(splits[path.as_posix()]) if split == "train"]
        rain = np.concatenate([event[np.isfinite(event)] for event in pixels])
        assert told.rates == [0.1, 1.0, 5.0]
        assert told.exceedance == pytest.approx([(rain >= rate).mean() for rate in (0.1, 1, 5)])
        assert 1 > told.exceedance[0] > told.exceedance[1] > told.exceedance[2] > 0


def test_only_dry_windows_of_train_are_left_out(store: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    wet_share = float(table.loc[table["split"] == "train", "wet_fraction"].median())
    index({"radar": store}, tmp_path / "windows.parquet", settings(**SMALL | {"train_wet_share": wet_share}))
    kept = pd.read_parquet(tmp_path / "windows.parquet")
    wanted = table[(table["split"] != "train") | (table["wet_fraction"] >= wet_share)]
    pd.testing.assert_frame_equal(kept, wanted.reset_index(drop=True))
    assert len(kept) < len(table)


def test_same_seed_same_bytes(store: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    index({"radar": store}, tmp_path / "windows.parquet", settings(**SMALL))
    assert (tmp_path / "windows.parquet").read_bytes() == store.with_name("windows.parquet").read_bytes()


def test_a_frame_without_a_valid_pixel_is_a_missing_one(tmp_path: Path) -> None:
    frames = [frame for day in range(1, 5) for frame in moving_cells(f"2024-06-0{day}T12:00", 12, shape=(32, 32))]
    frames[17] = replace(frames[17], rain_rate=np.full((32, 32), np.nan, np.float32))  # of day 2, its sixth
    write_store(tmp_path / "radar.zarr", frames)
    index({"radar": tmp_path / "radar.zarr"}, tmp_path / "windows.parquet", settings(**SMALL))
    starts = set(pd.read_parquet(tmp_path / "windows.parquet")["t0"])
    assert starts == {12 * day + first for day in range(4) for first in range(8)} - {13, 14, 15, 16, 17}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 64}, r"^index\.size: 64 pixels, but .*radar\.zarr has a grid of 40×56"),
        ({"train_wet_share": 1.0, "wet_rate": 10.0}, r"^index\.train_wet_share: "),
        ({"leads": 40}, "^index: 0 event"),
        ({"wet_rate": 500.0}, "^index: 0 event"),
    ],
)
def test_what_the_archive_can_t_give_is_one_line(
    store: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    (tmp_path / "windows.parquet").write_text("the one before")
    with pytest.raises(UserError, match=words) as error:
        index({"radar": store}, tmp_path / "windows.parquet", settings(**SMALL | changes))
    assert "\n" not in str(error.value)
    assert (tmp_path / "windows.parquet").read_text() == "the one before"


def test_a_single_event_or_no_store_is_one_line(tmp_path: Path) -> None:
    store = write_archive(tmp_path / "radar.zarr", events=1, shape=(32, 32))
    with pytest.raises(UserError, match=r"^index: 1 event"):
        index({"radar": store}, tmp_path / "windows.parquet", settings(**SMALL))
    with pytest.raises(UserError, match=r"nowhere\.zarr: .*isn't there"):
        index({"radar": tmp_path / "nowhere.zarr"}, tmp_path / "windows.parquet", settings(**SMALL))
    assert not (tmp_path / "windows.parquet").exists()


def test_archives_of_a_split_as_a_whole_and_events_drawn_of_the_others(store: Path, tmp_path: Path) -> None:
    other = write_archive(tmp_path / "other.zarr", events=2, shape=(32, 48))
    stores = {"radar": store, "other": other}
    params = settings(**SMALL | {"splits": {"other": "test"}})
    index(stores, tmp_path / "windows.parquet", params)
    table = pd.read_parquet(tmp_path / "windows.parquet")
    of_other = table["store"] == other.as_posix()
    assert set(table.loc[of_other, "split"]) == {"test"}
    assert set(table.loc[~of_other, "split"]) == {"train", "validation", "test"}
    assert table.groupby("event")["store"].nunique().eq(1).all()
    assert table["event"].nunique() == 5 + 2
    # With two of three splits, and no events to draw for the third.
    with pytest.raises(UserError, match=r"^index\.splits: no event .* is of the split validation"):
        index(stores, tmp_path / "windows.parquet", settings(**SMALL | {"splits": {"radar": "train", "other": "test"}}))


def test_archives_of_different_steps_come_together_at_one_that_is_asked_for(store: Path, tmp_path: Path) -> None:
    frames = [
        replace(frame, time=frame.time + np.timedelta64(300 * number, "s"))
        for number, frame in enumerate(moving_cells("2024-07-01T12:00", 12, shape=(32, 32)))
    ]
    write_store(tmp_path / "slow.zarr", frames)
    stores, windows = {"radar": store, "slow": tmp_path / "slow.zarr"}, tmp_path / "windows.parquet"
    with pytest.raises(UserError, match=r"^index\.step_s: .*radar\.zarr 300 s, .*slow\.zarr 600 s"):
        index(stores, windows, settings(**SMALL))
    index(stores, windows, settings(**SMALL | {"step_s": 600}))
    table = pd.read_parquet(windows)
    assert set(table["store"]) == {path.as_posix() for path in stores.values()}
    for path, of_store in table.groupby("store"):
        cut = RadarWindows(of_store, SMALL["inputs"], SMALL["leads"], SMALL["size"], 600)
        clock = cut.rain[path]["time"].to_numpy()
        assert set(np.diff(clock[of_store["t0"].max() :][: SMALL["inputs"] + SMALL["leads"]])) == {
            np.timedelta64(600, "s")
        }
        newest = of_store["t0"] + SMALL["inputs"] - 1
        assert (clock[newest] == of_store["time"]).all()
        row = of_store.iloc[0]
        square = cut.rain[path][newest.iloc[0], row.y0 : row.y0 + cut.size, row.x0 : row.x0 + cut.size]
        np.testing.assert_array_equal(cut[0][SMALL["inputs"] - 1, 0].numpy(), square.to_numpy())


def test_archives_that_share_frames_are_one_line(store: Path, tmp_path: Path) -> None:
    again = write_archive(tmp_path / "again.zarr", events=2, shape=(40, 56))
    with pytest.raises(
        UserError, match=r"radar\.zarr and .*again\.zarr both have a frame of 2024-06-01T12:00:00.* on one grid"
    ):
        index({"radar": store, "again": again}, tmp_path / "windows.parquet", settings(**SMALL))


# Days


def test_by_day_an_event_ends_at_midnight() -> None:
    minutes = np.arange(24 * 60 - 15, 24 * 60 + 15, 5)
    events = find_events(at_minutes(*minutes), wet("w" * 6), settings(by_day=True))
    assert events.tolist() == [0, 0, 0, 1, 1, 1]
    longest = settings(by_day=True, max_event_hours=0.25)  # from the event's first frame on
    assert find_events(at_minutes(*minutes[1:]), wet("w" * 5), longest).tolist() == [0, 0, 1, 2, 2]


def test_what_archives_have_of_a_day_is_of_one_split(tmp_path: Path) -> None:
    grid = moving_cells("2024-06-01T12:00:00", 1)[0].grid
    stores = {}
    for name, left in (("north", 0.0), ("south", 1e6)):
        frames = [
            replace(frame, grid=replace(grid, x=grid.x + left))
            for day in range(1, 7)
            for frame in moving_cells(f"2024-06-{day:02}T12:00:00", 24)
        ]
        stores[name] = tmp_path / f"{name}.zarr"
        write_store(stores[name], frames)
    asked = settings(by_day=True, leads=4, size=32, stride=32, train_wet_share=0.0, max_event_hours=0.9)
    index(stores, tmp_path / "windows.parquet", asked)
    table = pd.read_parquet(tmp_path / "windows.parquet")
    days = table["time"].dt.date
    assert table.groupby(days)["store"].nunique().eq(2).all()
    assert table.groupby(days)["event"].nunique().ge(4).all()
    assert table.groupby(days)["split"].nunique().eq(1).all()
    assert table.groupby("split")["time"].agg(lambda of: of.dt.date.nunique()).to_dict() == {
        "train": 4,
        "validation": 1,
        "test": 1,
    }
    longer = asked.model_copy(update={"leads": 8, "max_event_hours": 1.2})
    index(stores, tmp_path / "longer.parquet", longer)
    of_longer = pd.read_parquet(tmp_path / "longer.parquet")
    split = [of.groupby(of["time"].dt.date)["split"].first() for of in (table, of_longer)]
    pd.testing.assert_series_equal(*split)
    with pytest.raises(UserError, match=r"index: 2 day\(s\), and train, validation and test need one each"):
        draw_splits(np.arange(2), asked)
