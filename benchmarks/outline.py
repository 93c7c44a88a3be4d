"""Ingestion of annotated images against bare decoding and resizing.

    python benchmarks/outline.py

One line a claim; exit status 1 if any is short. It makes its own scenes, of the size and with the number of objects
that Cityscapes' have: 2048 × 1024 pixels, 17 objects each.

Ingestion: bare is Pillow, which decodes each image, and cuts and resizes the same squares, in as many processes as
there are cores; it reads no annotation, compresses nothing and writes nothing.

Times are the best of rounds in which every side runs once: others' load only adds.
"""

import contextlib
import io
import itertools
import os
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from claims import best_seconds, claim, say_where, status
from PIL import Image

from pipelines.images.crop_box import SIZE
from pipelines.images.crops import open_crops
from pipelines.images.ingest import ingest_images
from pipelines.images.simulate import simulate_images
from pipelines.params.images import IngestImages, SimulateImages

ROUNDS = 4
COPIES = 8


def decode_bare(path: Path, squares: list[tuple[float, float, float, float]]) -> int:
    """Decode, cut and resize, and keep nothing."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    crops = [np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, square)) for square in squares]
    return len(crops)


def measure_ingest(folder: Path) -> None:
    raw, number = folder / "raw", itertools.count()
    params = IngestImages(
        source="-", min_side=8, validation_share=0.2, test_share=0.2, seed=1, license="CC0-1.0"
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        simulate_images(raw, SimulateImages(seed=1, cities=3, scenes=2, objects=17, height=1024))
    for path in list(raw.rglob("*_000019_*")):  # more of them: what comes after a PNG's end makes it another file
        for copy in range(1, COPIES):
            content = path.read_bytes() + (str(copy).encode() if path.suffix == ".png" else b" ")
            path.with_name(path.name.replace("_000019_", f"_{copy:06d}_")).write_bytes(content)

    def ours() -> Path:
        out = folder / f"out{next(number)}"
        with contextlib.redirect_stdout(io.StringIO()):
            ingest_images(raw, out / "crops.zarr", out / "quarantine.csv", params)
        return out / "crops.zarr"

    table = open_crops(ours()).table
    low = table[["crop_x0", "crop_y0"]].to_numpy()
    sizes = table[["image_width", "image_height"]].to_numpy()
    table[["left", "top"]] = low.clip(0)
    table[["right", "bottom"]] = np.minimum(low + table[["crop_side"]].to_numpy(), sizes)
    tasks = [
        (raw / str(name), list(of_image[["left", "top", "right", "bottom"]].itertuples(index=False, name=None)))
        for name, of_image in table.groupby("image")
    ]
    cores = len(os.sched_getaffinity(0))
    with get_context("spawn").Pool(cores) as pool:

        def bare() -> None:
            assert sum(pool.starmap(decode_bare, tasks, chunksize=1)) == len(table)

        took = best_seconds({"bare": bare, "ours": ours}, ROUNDS)
    rates = {name: round(len(table) / seconds) for name, seconds in took.items()}
    print(f"ingest, {len(tasks)} images, {len(table)} objects, {cores} processes, objects a second: {rates}")
    claim("ingest annotated images ours / bare decoding and resizing", took["bare"] / took["ours"], ">=", 0.8)


def main() -> int:
    say_where()
    with TemporaryDirectory() as folder:
        measure_ingest(Path(folder))
    return status()


if __name__ == "__main__":
    sys.exit(main())
