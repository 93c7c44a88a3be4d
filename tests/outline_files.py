"""A small store of crops, of shapes whose polygons are known, and untrained networks for it."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numcodecs.zstd import Zstd
from safetensors.torch import save_file

from pipelines.images.crop_box import crop_box
from pipelines.images.crops import COLUMNS, LEVEL, Crops, assemble, open_crops
from pipelines.outline.annotator import Annotator, load_annotator
from scs_model.networks.outline import OutlineNetwork

SHAPES = {  # x, y in shares of the box
    "square": [[0, 0], [1, 0], [1, 1], [0, 1]],
    "ell": [[0, 0], [0.4, 0], [0.4, 0.6], [1, 0.6], [1, 1], [0, 1]],
}
SPLITS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
NETWORK: dict[str, Any] = {"cell": "scs", "depth": 2, "channels": 4, "features": 4, "width": 2, "blocks": [1] * 4}


def draw(shape: str, box: tuple[int, int, int, int], size: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """An image of one light shape on a dark ground, and its polygon in pixels."""
    x0, y0, x1, y1 = box
    polygon = np.array(SHAPES[shape]) * [x1 - x0, y1 - y0] + [x0, y0]
    image = np.random.default_rng(x0).integers(0, 60, (size, size, 3)).astype(np.uint8)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(polygon - 0.5).astype(np.int32)[:, None]], 255)
    image[mask > 0] += 180
    return image, polygon


def small_crops(folder: Path) -> Crops:
    """Twelve crops of two classes, two an image."""
    rows, polygons, compressed = [], [], []
    for i, split in enumerate(SPLITS):
        name = list(SHAPES)[i % 2]
        box = (20 + i, 15, 90 + i, 75)
        image, polygon = draw(name, box)
        square = crop_box(box, (120, 120))
        crop = square.cut(image)
        compressed.append(Zstd(level=LEVEL).encode(crop.tobytes()))
        polygons.append(square.to_crop(polygon).astype(np.float32))
        x0, y0, x1, y1 = box
        rows.append(
            {"image": f"{i // 2}.png", "object": i % 2, "class_name": name, "label": i % 2, "group": f"{i // 2}"}
            | {"split": split, "x0": x0, "y0": y0, "x1": x1, "y1": y1}
            | {"crop_x0": square.x0, "crop_y0": square.y0, "crop_side": square.side}
            | {"image_height": 120, "image_width": 120, "sha256": f"{i // 2}", "object_sha256": f"{i}"}
        )
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("first_vertex", "vertices")])
    assemble(table, polygons, compressed, list(SHAPES), {"license": "CC0-1.0"}, folder / "crops.zarr")
    return open_crops(folder / "crops.zarr")


def write_outline_model(folder: Path, *, seed: int = 0, **network: Any) -> Annotator:
    """An untrained network, as training writes one."""
    torch.manual_seed(seed)
    shape = NETWORK | network
    folder.mkdir(parents=True)
    save_file(OutlineNetwork(**shape).state_dict(), folder / "weights.safetensors")
    about = {"method": "outline", "name": folder.name, "network": shape, "classes": ["square"], "max_vertices": 12}
    (folder / "model.json").write_text(json.dumps(about))
    return load_annotator(folder)
