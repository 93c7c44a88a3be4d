"""Stage ``evaluate_outline``: a network's polygons of the test crops, alone and corrected, and the baselines'."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.common.progress import track
from pipelines.common.stage import run
from pipelines.images.crops import Crops, open_crops
from pipelines.outline.annotator import Annotator, load_annotator
from pipelines.outline.baselines import box_polygon, ellipse_polygon, traced_polygon
from pipelines.outline.corrections import correct
from pipelines.outline.figures import draw_examples
from pipelines.outline.grid_polygon import to_grid, to_pixels
from pipelines.outline.scores import Mask, boundary_f, iou, to_mask
from pipelines.params.outline import EvaluateOutline
from pipelines.params.read import read_params
from pipelines.training.results import write_results
from scs_model.networks.outline import CELL

AT_ONCE = 16  # crops whose polygons are found side by side
TIMED = 20  # crops that are also outlined one by one, for the time of an object
POLYGON, MASK, ELLIPSE, BOX, GRID_LIMIT = "polygon", "traced mask", "ellipse", "box", "true polygon on the grid"
BASELINES = (MASK, ELLIPSE, BOX)
Points = NDArray[np.floating]


def evaluate_outline(
    annotator: Annotator, crops: Crops, params: EvaluateOutline
) -> tuple[pd.DataFrame, dict[str, float], dict[int, Points]]:
    """Score an annotator on the test crops.

    Returns
    -------
    DataFrame
        A row an object, method and threshold T of corrections (0: none): columns crop, image, group, class_name, known
        (whether it was trained on the class), method, threshold, iou, f1 and f2 (boundary F at 1 and 2 cells),
        vertices, true_vertices (on the grid), closed, clicks.
    dict
        Means over all objects.
    dict
        The polygon of each crop, in its pixels.

    Raises
    ------
    UserError
        If there is no crop to test on.
    """
    test = crops.table.index[crops.table["split"] == "test"]
    if test.empty:
        raise UserError(f"{crops.path}: no crop of the split 'test'")
    name, rows, polygons = annotator.description.name, list[dict[str, Any]](), dict[int, Points]()
    batches = [[int(i) for i in test[at : at + AT_ONCE]] for at in range(0, len(test), AT_ONCE)]
    for batch in track(batches, f"evaluate {name}"):
        truths = {i: to_grid(crops.polygon(i), annotator.description.max_vertices) for i in batch}
        masks = {i: to_mask(crops.polygon(i)) for i in batch}
        for i, method, threshold, points, more in _outlines(annotator, crops, truths, params):
            about = crops.table.loc[i, ["image", "group", "class_name"]]
            rows.append(
                {"crop": i, **about, "known": about["class_name"] in annotator.description.classes}
                | {"method": method, "threshold": threshold, "true_vertices": len(truths[i])}
                | _scores(points, masks[i])
                | more
            )
            if method == POLYGON and not threshold:
                polygons[i] = points
    result = pd.DataFrame(rows)
    seconds = [_seconds(annotator, crops.image(int(i)), params.beam) for i in test[:TIMED]]
    return result, _metrics(result) | {"seconds_an_object": float(np.median(seconds))}, polygons


def _outlines(
    annotator: Annotator, crops: Crops, truths: dict[int, Points], params: EvaluateOutline
) -> Iterator[tuple[int, str, int, Points, dict[str, Any]]]:
    """Yield crop, method, threshold, polygon in pixels, and what else there is to say, of all objects of a batch.

    ``truths`` are their true polygons on the grid, by crop.
    """
    batch = list(truths)
    encoded = annotator.encode(np.stack([crops.image(i) for i in batch]))
    settled, outlines = annotator.propose(encoded, beam=params.beam)
    for i, found, logits in zip(batch, outlines, encoded.mask.float().cpu().numpy(), strict=True):
        yield i, POLYGON, 0, found.points, {"closed": found.closed}
        corners = crops.crop_box(i).to_crop(crops.table.loc[i, ["x0", "y0", "x1", "y1"]].to_numpy(float).reshape(2, 2))
        yield i, MASK, 0, traced_polygon(logits), {}
        yield i, ELLIPSE, 0, ellipse_polygon(corners), {}
        yield i, BOX, 0, box_polygon(corners), {}
        yield i, GRID_LIMIT, 0, to_pixels(truths[i]), {}
    can = [at for at, i in enumerate(batch) if len(truths[i]) >= 3]
    if can:
        of_these = type(encoded)(*(part[can] for part in settled))
        for T in params.thresholds:
            of_true = [truths[batch[at]] for at in can]
            for at, corrected in zip(can, correct(annotator, of_these, of_true, T), strict=True):
                yield batch[at], POLYGON, T, corrected.points, {"clicks": corrected.clicks}


def _scores(points: Points, true: Mask) -> dict[str, object]:
    """Return how a polygon in pixels agrees with the true one's pixels."""
    predicted = to_mask(points)
    return {
        "iou": iou(predicted, true),
        "f1": boundary_f(predicted, true, CELL),
        "f2": boundary_f(predicted, true, 2 * CELL),
        "vertices": len(points),
        "closed": True,
        "clicks": 0,
    }


def _metrics(result: pd.DataFrame) -> dict[str, float]:
    """Return the means over objects, of classes too: `mean_class_iou` is the mean of the classes' means."""
    alone = result[result["threshold"] == 0].groupby("method")
    own = alone.get_group(POLYGON)
    metrics = {name: float(own[name].mean()) for name in ("iou", "f1", "f2", "vertices", "true_vertices", "closed")}
    metrics["mean_class_iou"] = float(own.groupby("class_name")["iou"].mean().mean())
    for method, key in ((MASK, "mask"), (ELLIPSE, "ellipse"), (BOX, "box"), (GRID_LIMIT, "grid")):
        metrics[f"{key}_iou"] = float(alone.get_group(method)["iou"].mean())
    for T, corrected in result[result["threshold"] > 0].groupby("threshold"):
        metrics |= {f"clicks_{T}": float(corrected["clicks"].mean()), f"iou_{T}": float(corrected["iou"].mean())}
    return metrics


def _seconds(annotator: Annotator, image: NDArray[np.uint8], beam: int) -> float:
    """Return what one object takes by itself."""
    start = time.perf_counter()
    annotator.propose(annotator.encode(image[None]), beam=beam)
    return time.perf_counter() - start


def main(model: Path, store: Path, table: Path, picture: Path, metrics: Path) -> None:
    """Evaluate MODEL on STORE's test crops into TABLE (Parquet), PICTURE (examples, PNG) and METRICS (JSON)."""
    crops, annotator = open_crops(store), load_annotator(model)
    result, scores, polygons = evaluate_outline(annotator, crops, read_params().evaluate_outline)
    write_results(result, scores, table, metrics)
    draw_examples(result[(result["method"] == POLYGON) & (result["threshold"] == 0)], crops, polygons, picture)


if __name__ == "__main__":
    run(main)
