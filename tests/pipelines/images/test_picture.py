"""Pictures of every kind that people have, as Pillow and OpenCV write them."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from pipelines.common.errors import UnreadableFile
from pipelines.images import picture
from pipelines.images.picture import read_picture

RAMP = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def saved(image: Image.Image, kind: str = "PNG", **how) -> bytes:
    content = BytesIO()
    image.save(content, kind, **how)
    return content.getvalue()


def decode_picture(content: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    return np.asarray(picture.decode_picture(content, size))


def test_colours_and_greys():
    assert (decode_picture(saved(Image.fromarray(RAMP))) == RAMP).all()
    grey = RAMP[..., 0]
    assert (decode_picture(saved(Image.fromarray(grey))) == grey[..., None]).all()
    one_bit = np.array([[True, False]])
    assert decode_picture(saved(Image.fromarray(one_bit))).tolist() == [[[255] * 3, [0] * 3]]


def test_palette():
    image = Image.fromarray(RAMP).quantize(144)
    assert (decode_picture(saved(image)) == RAMP).all()
    assert (decode_picture(saved(image, "GIF")) == RAMP).all()


def test_sixteen_bits():
    depth = np.array([[1000, 1500, 2000]], np.uint16)  # 12 bits' worth, as microscopes and depth cameras have
    for kind in ("PNG", "TIFF"):
        assert decode_picture(saved(Image.fromarray(depth), kind))[0, :, 0].tolist() == [0, 128, 255]
    even = saved(Image.fromarray(np.full((2, 2), 7, np.uint16)))
    assert (decode_picture(even) == 0).all()
    colour = np.array([[[0x1234, 0xABCD, 0xFF00]]], np.uint16)
    ok, content = cv2.imencode(".png", colour[..., ::-1])
    assert ok
    assert decode_picture(content.tobytes()).tolist() == [[[0x12, 0xAB, 0xFF]]]


def test_floats_that_are_not_all_known():
    values = np.array([[0.25, np.nan, 0.75, np.inf]], np.float32)
    assert decode_picture(saved(Image.fromarray(values), "TIFF"))[0, :3, 0].tolist() == [0, 0, 255]


def test_cmyk():
    image = Image.new("CMYK", (2, 2), (255, 0, 0, 0))  # cyan: no red
    assert np.allclose(decode_picture(saved(image, "JPEG", quality=100)), [0, 255, 255], atol=3)


def test_transparent_is_before_white():
    image = np.zeros((1, 3, 4), np.uint8)
    image[0, :, 3] = 0, 128, 255
    assert np.allclose(decode_picture(saved(Image.fromarray(image)))[0, :, 0], [255, 127, 0], atol=1)
    palette = Image.new("P", (1, 1))
    assert decode_picture(saved(palette, transparency=0)).tolist() == [[[255] * 3]]


def test_turned_by_exif():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90°
    content = saved(Image.fromarray(RAMP), exif=exif)
    assert (decode_picture(content) == np.rot90(RAMP, -1)).all()
    assert (decode_picture(content, (8, 6)) == np.rot90(RAMP, -1)).all()
    assert (decode_picture(content, (6, 8)) == RAMP).all(), "its annotation is of the unturned one"
    with pytest.raises(ValueError, match="it has 6 × 8 pixels, and its annotation says 9 × 7"):
        decode_picture(content, (7, 9))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html>", "no picture that can be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture that can be decoded"),
        (saved(Image.fromarray(RAMP.repeat(40, axis=0)), "JPEG")[:700], "truncated"),
        (saved(Image.fromarray(RAMP.repeat(40, axis=0)))[:90], "truncated|broken|incomplete"),
    ],
)
def test_what_is_no_whole_picture(tmp_path, content, reason):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=reason):
        read_picture(path)


def test_more_pixels_than_may_be(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 10_000)).save(path)  # 200 million in 25 kB
    with pytest.raises(UnreadableFile, match=r"200000000 pixels.*exceeds limit"):
        read_picture(path)
