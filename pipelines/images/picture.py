"""A picture of any kind as eight bits of red, green and blue, upright.

* Turned by its EXIF data, as viewers do; but where its annotation gives the size of the unturned one, left as it is.
* More than eight bits of grey, or floats: from its smallest value, black, to its largest, white. More than eight bits
  of colour: their upper eight.
* Transparent: before white. Of several pictures in a file: the first.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from pipelines.common.errors import as_unreadable
from pipelines.common.limits import check_size

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jp2", ".ppm", ".pgm")
# None that runs another program or reads other files.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "JPEG2000", "PPM")
DEEP = ("I", "F")  # Pillow's modes of 16 bits of grey and more: I, I;16, I;16B, F


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3) of a file; raises `UnreadableFile` if it is none that can be decoded."""
    with as_unreadable(path):
        check_size(path.stat().st_size)
        return np.asarray(decode_picture(path.read_bytes()))


def decode_picture(content: bytes, size: tuple[int, int] | None = None) -> Image.Image:
    """Return the RGB picture of a file with this content.

    Parameters
    ----------
    content : bytes
    size : (int, int), optional
        Rows and columns that its annotation says it has.

    Raises
    ------
    ValueError, OSError
        If it is no whole picture, has more than 179 million pixels, or isn't of that size, turned or not.
    """
    if not content:
        raise ValueError("empty")
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise ValueError("no picture that can be decoded") from None
    with image:
        image.load()
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        upright = ImageOps.exif_transpose(image) if turned else image
        if size and size != upright.size[::-1] and size == image.size[::-1]:
            upright = image
        if size and size != upright.size[::-1]:
            raise ValueError(
                f"it has {upright.width} × {upright.height} pixels, and its annotation says {size[1]} × {size[0]}"
            )
        return _rgb(upright)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(DEEP):
        values = np.asarray(image)
        known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        grey = np.zeros(values.shape, np.uint8)
        for row, into in zip(values, grey, strict=True):  # all at once would take twenty times the picture's memory
            share = (np.nan_to_num(row.astype(np.float64), posinf=high, neginf=low) - low) / max(high - low, 1e-300)
            into[:] = np.rint(255 * share.clip(0, 1))
        image = Image.fromarray(grey)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
