"""Stage ``evaluate_action``: what a network says of the test clips, whole and after their first frames."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.action.recognizer import ActionRecognizer, load_recognizer
from pipelines.action.scores import WHOLE
from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path
from pipelines.common.progress import track
from pipelines.common.stage import run
from pipelines.common.text import printable
from pipelines.params.action import EvaluateAction
from pipelines.params.read import read_params
from pipelines.training.results import write_results
from pipelines.video.clips import Clips, open_clips

FRAMES_AT_ONCE = 512  # read at once, of clips of one shape that are evaluated together


def streams_of(
    recognizer: ActionRecognizer, clips: Clips, numbers: Sequence[int]
) -> Iterator[tuple[int, dict[str, NDArray[np.float32]]]]:
    """Return what the network says of each frame of some clips, those of one shape side by side.

    Yields
    ------
    int
        Of the clip; they come in another order than asked for.
    dict
        By stream: ``main`` (T, K) and, where it was trained with subtasks, ``t1`` (T, K), log-probabilities, and
        ``motion`` (T, C), T²'s features.
    """
    has_subtasks = bool(recognizer.network.flow_heads)
    names = {"main": "main", "t1": "spatial", "motion": "motion"}
    for (length, *_), same in clips.table.loc[list(numbers)].groupby(["frames", "height", "width"]):
        together = max(1, FRAMES_AT_ONCE // length)
        for batch in (list(same.index[at : at + together]) for at in range(0, len(same), together)):
            frames = _side_by_side(clips, batch, int(length))
            pieces = list(recognizer.stream(frames, with_subtasks=has_subtasks))
            if has_subtasks:
                streams = {
                    key: np.concatenate([getattr(piece, name).float().cpu().numpy() for piece in pieces])
                    for key, name in names.items()
                }
            else:
                streams = {"main": np.concatenate([piece.cpu().numpy() for piece in pieces])}
            for place, i in enumerate(batch):
                yield i, {key: values[:, place] for key, values in streams.items()}


def _side_by_side(clips: Clips, numbers: Sequence[int], length: int) -> Iterator[NDArray[np.uint8]]:
    """Return the frames (B, H, W, 3) of clips of one shape, however long they are, in the memory of a few."""
    for start in range(0, length, FRAMES_AT_ONCE):
        count = min(FRAMES_AT_ONCE, length - start)
        yield from np.stack([clips.frames(i, start, count) for i in numbers], axis=1)


def rank_of(scores: NDArray[np.floating], label: int) -> int:
    """Return the place of the true class among all by their scores (K,), 1 for the best; a tie counts against it."""
    others = np.delete(scores, label)
    return 1 + int((others >= scores[label]).sum())


def evaluate_action(
    recognizer: ActionRecognizer, clips: Clips, params: EvaluateAction
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Score a recognizer on the test clips.

    Returns
    -------
    DataFrame
        A row a clip, stream (main, t1, t2_probe) and number of observed frames (0: all): columns clip, group, label,
        predicted (names), stream, observed, rank.
    dict
        Scores of whole clips.

    Raises
    ------
    UserError
        If the clips are of other classes, or there are none to test on.
    """
    name = recognizer.description.name
    if recognizer.description.classes != clips.classes:
        raise UserError(f"{clips.path}: its classes aren't those of the model {name}")
    table, classes = clips.table, clips.classes
    test = table.index[table["split"] == "test"]
    if test.empty:
        raise UserError(f"{clips.path}: no clip of the split 'test'")
    rows: list[dict[str, object]] = []
    whole_clips: dict[int, NDArray[np.floating]] = {}
    features: dict[int, NDArray[np.floating]] = {}

    def note(i: int, stream: str, observed: int, scores: NDArray[np.floating]) -> None:
        clip = table.loc[i]
        rank, predicted = rank_of(scores, int(clip["label"])), classes[int(scores.argmax())]
        rows.append(
            {"clip": clip["clip"], "group": clip["group"], "label": clip["label_name"], "predicted": predicted}
            | {"stream": stream, "observed": observed, "rank": rank}
        )

    of_test = streams_of(recognizer, clips, list(test))
    for i, streams in track(of_test, f"evaluate {name}", total=len(test)):
        if "motion" in streams:
            features[i] = streams.pop("motion").mean(0)
        for stream, scores in streams.items():
            note(i, stream, WHOLE, scores.mean(0))
            for observed in params.observed if stream == "main" else []:
                note(i, stream, observed, scores[:observed].mean(0))
        whole_clips[i] = log_softmax(streams["main"].mean(0))
    train = table.index[table["split"] == "train"]
    if features and table.loc[train, "label"].nunique() > 1:
        learned = {i: streams["motion"].mean(0) for i, streams in streams_of(recognizer, clips, list(train))}
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        probe.fit(np.stack([learned[i] for i in train]), table.loc[train, "label"].to_numpy())
        known = probe[-1].classes_
        for i, scores_of_known in zip(
            features, probe.predict_log_proba(np.stack(list(features.values()))), strict=True
        ):
            scores = np.full(len(classes), -np.inf)
            scores[known] = scores_of_known
            note(i, "t2_probe", WHOLE, scores)

    result = pd.DataFrame(rows)
    at_end = result[result["observed"] == WHOLE]
    metrics = {}
    for stream, of_stream in at_end.groupby("stream"):
        prefix = "" if stream == "main" else f"{stream}_"
        metrics[f"{prefix}top1"] = float((of_stream["rank"] <= 1).mean())
        metrics[f"{prefix}top5"] = float((of_stream["rank"] <= 5).mean())
    labels, probabilities = table.loc[test, "label"].to_numpy(), np.exp(np.stack([whole_clips[i] for i in test]))
    precisions = [average_precision_score(labels == k, probabilities[:, k]) for k in np.unique(labels)]
    metrics["mean_average_precision"] = float(np.mean(precisions))
    return result, metrics


def draw_confusion(result: pd.DataFrame, classes: list[str], title: str, path: Path) -> None:
    """Draw which classes were taken for which, a share of each true class's clips."""
    at_end = result[(result["stream"] == "main") & (result["observed"] == WHOLE)]
    with np.errstate(invalid="ignore"):
        counts = confusion_matrix(at_end["label"], at_end["predicted"], labels=classes).astype(float)
        shares = counts / counts.sum(axis=1, keepdims=True)
    side = 2.5 + 0.28 * min(len(classes), 100)
    figure = Figure(figsize=(side + 0.8, side), dpi=100, layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(shares, vmin=0, vmax=1, cmap="viridis")
    if len(classes) <= 100:
        names = [printable(name) for name in classes]
        ax.set_xticks(range(len(classes)), names, rotation=90, fontsize=7, parse_math=False)
        ax.set_yticks(range(len(classes)), names, fontsize=7, parse_math=False)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    ax.set_title(title, fontsize=9)
    figure.colorbar(image, shrink=0.7, label="share of the true class's clips")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def main(model: Path, store: Path, table: Path, picture: Path, metrics: Path) -> None:
    """Evaluate MODEL on STORE's test clips into TABLE (Parquet), PICTURE (confusion matrix, PNG) and METRICS (JSON)."""
    clips, recognizer = open_clips(store), load_recognizer(model)
    result, scores = evaluate_action(recognizer, clips, read_params().evaluate_action)
    write_results(result, scores, table, metrics)
    draw_confusion(result, clips.classes, f"{recognizer.description.name}: top-1 {scores['top1']:.2f}", picture)


if __name__ == "__main__":
    run(main)
