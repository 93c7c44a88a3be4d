"""Samples: what they hold, where they are cut, and that a resumed training sees what it would have."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from video_files import ingest_params, noise, small_store, write

from pipelines.common.errors import UserError
from pipelines.training.pass_sampler import PassSampler
from pipelines.video.clips import open_clips
from pipelines.video.ingest import ingest_video
from pipelines.video.optical_flow import flow_between
from pipelines.video.samples import ClipSamples


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return open_clips(small_store(tmp_path_factory.mktemp("samples")))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Clips of 20 and 5 frames of 32 × 48 pixels, with stored flow."""
    folder = tmp_path_factory.mktemp("wide")
    for number in range(6):
        write(folder / "raw" / "ab"[number % 2] / f"{number}.mkv", noise(number, 20 if number else 5, 32, 48))
    params = ingest_params(short_side=32, rate=None, min_frames=2, flow="store")
    ingest_video(folder / "raw", folder / "clips.zarr", folder / "quarantine.csv", params)
    return open_clips(folder / "clips.zarr")


def test_shapes_and_values(clips):
    samples = ClipSamples(clips, "test", 8, 32, flow=True, seed=0)
    assert len(samples) == 14
    frames, label, flow = samples[3]
    number = clips.table.index[clips.table["split"] == "test"][3]
    assert label == clips.table["label"][number]
    assert (frames.dtype, frames.shape) == (torch.uint8, (8, 3, 32, 32))
    assert (flow.dtype, flow.shape) == (torch.float32, (7, 2, 8, 8))
    # The middle 8 of 12 frames, all of the frame.
    whole = clips.frames(number, 2, 8)
    assert np.array_equal(frames.numpy(), whole.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(flow.numpy(), flow_between(whole).transpose(0, 3, 1, 2))
    assert len(ClipSamples(clips, "test", 8, 32, flow=False, seed=0)[3]) == 2


def test_squares_and_pieces_of_training(wide):
    """Anywhere, but on whole cells of the flow; stored flow is cut with the frames."""
    samples = ClipSamples(wide, "train", 8, 24, flow=True, seed=0)
    corners = set()
    for n in range(0, 40 * len(samples), len(samples)):
        number = samples.numbers[0]
        whole, flow_of_whole = wide.frames(number), wide.flow(number)
        frames, _, flow = samples[n]
        places = [
            (start, top, left)
            for start in range(len(whole) - 7)
            for top in range(0, 9)
            for left in range(0, 25)
            if np.array_equal(
                whole[start : start + 8, top : top + 24, left : left + 24], frames.numpy().transpose(0, 2, 3, 1)
            )
        ]
        (place,) = places or [None]
        assert place is not None
        start, top, left = place
        corners.add(place)
        assert (top % 4, left % 4) == (0, 0)
        cut = flow_of_whole[start : start + 7, top // 4 : top // 4 + 6, left // 4 : left // 4 + 6]
        assert np.array_equal(flow.numpy(), cut.transpose(0, 3, 1, 2))
        if len(whole) > 8 and len(corners) > 10:
            break
    assert len({start for start, _, _ in corners}) > 3
    assert len({left for _, _, left in corners}) > 3


def test_short_clip_holds_its_last_frame(wide):
    number = int(wide.table.index[wide.table["frames"] == 5][0])
    split = wide.table["split"][number]
    samples = ClipSamples(wide, split, 8, 32, flow=True, seed=0)
    frames, _, flow = samples[list(samples.numbers).index(number)]
    assert all(torch.equal(frames[4], frames[t]) for t in range(5, 8))
    assert not torch.equal(frames[3], frames[4])
    assert (flow[4:] == 0).all()
    assert (flow[:4] != 0).any()


def test_a_sample_is_a_function_of_seed_and_number(clips):
    one, again, other = (ClipSamples(clips, "train", 4, 16, flow=False, seed=seed) for seed in (1, 1, 2))
    numbers = [5, 5 + len(one), 5 + 2 * len(one), 5 + 3 * len(one)]
    assert all(torch.equal(one[n][0], again[n][0]) for n in numbers)
    assert any(not torch.equal(one[n][0], other[n][0]) for n in numbers)
    assert len({one[n][0].numpy().tobytes() for n in numbers}) > 1  # one clip, drawn anew
    assert len({one[n][1] for n in numbers}) == 1


def test_sampler(clips):
    """Each pass sees every clip once; an epoch goes on where the one before ended, resumed or not."""
    samples = ClipSamples(clips, "train", 4, 32, flow=False, seed=1)
    sampler = PassSampler(samples, count=20)
    seen = []
    for epoch in range(7):
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert len(drawn) == len(sampler) == 20
        seen += drawn
    assert len(set(seen)) == 140
    passes = [sorted(n % len(samples) for n in seen[i : i + 28]) for i in range(0, 140, 28)]
    assert len(samples) == 28
    assert passes == [list(range(28))] * 5
    assert [n // 28 for n in seen] == [i // 28 for i in range(140)]
    resumed = PassSampler(samples, count=20)
    resumed.set_epoch(3)
    assert list(resumed) == seen[60:80]
    whole = PassSampler(samples)
    assert Counter(n % 28 for n in whole) == Counter(range(28))


@pytest.mark.parametrize("store", ["clips", "wide"])  # computed flow, stored flow
def test_kept_or_read_each_time_is_the_same(store, request):
    clips = request.getfixturevalue(store)
    kept, read = (ClipSamples(clips, "train", 7, 24, flow=True, seed=1, keep_bytes=keep) for keep in (1 << 30, 0))
    for n in [0, 3, 0, len(kept), 3 + 2 * len(kept)]:
        assert all(np.array_equal(a, b) for a, b in zip(kept[n], read[n], strict=True))


def test_in_workers(clips):
    """Loaded in other processes, it is the same."""
    samples = ClipSamples(clips, "train", 4, 32, flow=True, seed=1)
    samples[0]  # opened here first
    alone, beside = (
        DataLoader(samples, batch_size=4, sampler=PassSampler(samples), num_workers=workers) for workers in (0, 2)
    )
    for a, b in islice(zip(alone, beside, strict=True), 3):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_refusals(clips):
    with pytest.raises(UserError, match="frames of 32 pixels, and samples of 64"):
        ClipSamples(clips, "train", 4, 64, flow=False, seed=0)
    with pytest.raises(UserError, match="no clip of the split 'unused'"):
        ClipSamples(clips, "unused", 4, 32, flow=False, seed=0)
    with pytest.raises(UserError, match="not a multiple of 4"):
        ClipSamples(clips, "train", 4, 30, flow=False, seed=0)
