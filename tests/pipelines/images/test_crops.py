"""The store gives back what was put in, and a crop shows of its image what its box says."""

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numcodecs.zstd import Zstd

from pipelines.common.errors import UserError
from pipelines.common.provenance import sha256
from pipelines.images.crop_box import GREY, CropBox, crop_box
from pipelines.images.crops import COLUMNS, LEVEL, SHARD, assemble, open_crops

WIDE = np.zeros((60, 100, 3), np.uint8)
WIDE[..., 0], WIDE[..., 1] = np.arange(100), np.arange(60)[:, None]


def test_a_crop_has_the_box_in_the_middle_and_a_margin():
    box = crop_box((20, 10, 60, 30), (60, 100))
    assert (box.side, box.x0, box.y0) == (pytest.approx(52), pytest.approx(14), pytest.approx(-6))  # 40 + 2 · 6
    np.testing.assert_allclose(box.to_crop([[40, 20], [14, -6]]), [[112, 112], [0, 0]], atol=1e-9)


@given(*[st.floats(-50, 500)] * 2, st.floats(1, 500), st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 2), min_size=1))
def test_there_and_back(x0, y0, side, points):
    box = CropBox(x0, y0, side)
    np.testing.assert_allclose(box.to_image(box.to_crop(points)), points, atol=1e-9)


@pytest.mark.parametrize("zoom", [0.5, 1, 2])
def test_pixels_are_where_the_coordinates_say(zoom):
    # A ramp: the value of a pixel is where its centre is, less a half.
    box = CropBox(20.0, 10.0, 40.0, round(40 * zoom))
    y, x = np.mgrid[: box.size, : box.size] + 0.5
    expected = box.to_image(np.stack([x, y], axis=-1)) - 0.5
    crop = box.cut(WIDE)
    assert crop.shape == (box.size, box.size, 3)
    np.testing.assert_allclose(crop[..., :2], expected, atol=0.51)


def test_beyond_the_image_it_is_grey():
    crop = CropBox(-10.0, -30.0, 112.0).cut(WIDE)  # two pixels of the crop for one of the image
    inside = np.zeros((224, 224), bool)
    inside[60:180, 20:220] = True
    assert (crop[~inside] == GREY).all()
    assert (crop[inside][:, 2] == 0).all()


def test_a_large_image_costs_what_the_crop_costs():
    image = np.broadcast_to(np.uint8(7), (60_000, 60_000, 3))  # 10 GB, if it were copied
    assert (CropBox(30_000.25, 40_000.5, 300).cut(image) == 7).all()


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5, 5, 5, 9), "x0 < x1"),
        ((5, 9, 9, 5), "x0 < x1"),
        ((0, 0, float("nan"), 5), "x0 < x1"),
        ((1, 2, 3), "x0,y0,x1,y1"),
        ((100, 0, 120, 20), "outside the image, which has 100 × 60 pixels"),
        ((-20, 5, 0, 9), "outside the image"),
        ((7, 7, 8, 8), "1 × 1 pixels of the image; 2 in each direction"),
        ((99, 10, 200, 50), "1 × 40 pixels of the image"),
    ],
)
def test_what_is_no_box_is_told_in_one_line(box, reason):
    with pytest.raises(UserError, match=reason):
        crop_box(box, (60, 100))


def small_store(path, count):
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 256, (count, 1, 1, 3)).astype(np.uint8).repeat(224, axis=1).repeat(224, axis=2)
    polygons = [rng.uniform(0, 224, (3 + i % 5, 2)).astype(np.float32) for i in range(count)]
    row = dict.fromkeys(COLUMNS, 1.5) | dict.fromkeys(("image", "class_name", "group", "split", "sha256"), "é")
    table = pd.DataFrame([row] * count).assign(object=range(count))
    assemble(table, polygons, map(Zstd(LEVEL).encode, pixels), ["a", "é"], {"license": "CC0-1.0"}, path)
    return pixels, polygons


def test_store_gives_back_what_was_put_in(tmp_path):
    pixels, polygons = small_store(tmp_path / "crops.zarr", SHARD + 3)
    crops = open_crops(tmp_path / "crops.zarr")
    assert list(crops.table) == list(COLUMNS)
    assert (len(crops), crops.classes, crops.attributes) == (SHARD + 3, ["a", "é"], {"license": "CC0-1.0"})
    for i in (0, 1, SHARD - 1, SHARD, SHARD + 2):
        assert (crops.image(i) == pixels[i]).all()
        assert (crops.polygon(i) == polygons[i]).all()
        assert crops.table["object"][i] == i
    for i in (-1, SHARD + 3):
        with pytest.raises(IndexError):
            crops.image(i)
    array = zarr.open_group(crops.path, mode="r")["pixels"]  # by zarr's own reader, chunk after chunk
    assert (array.metadata.zarr_format, array.shards[0]) == (3, SHARD)
    assert (array[:] == pixels).all()


def test_store_is_the_same_bytes_each_time(tmp_path):
    for name in "ab":
        small_store(tmp_path / name, 5)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_what_is_no_store_or_of_a_newer_format(tmp_path):
    with pytest.raises(UserError, match="no store of crops"):
        open_crops(tmp_path)
    small_store(tmp_path / "crops.zarr", 2)
    zarr.open_group(tmp_path / "crops.zarr").attrs["scs_format_version"] = 2
    with pytest.raises(UserError, match="it is of format 2, and this scs-nowcast knows up to 1"):
        open_crops(tmp_path / "crops.zarr")
