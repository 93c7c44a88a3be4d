"""Stage ``evaluate_driving``: what a network says after each frame of the test drives, and its streams alone."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.common.errors import UserError
from pipelines.common.progress import track
from pipelines.common.stage import run
from pipelines.driving.drives import Drives, open_drives
from pipelines.driving.figures import draw_example
from pipelines.driving.samples import DriveSamples
from pipelines.driving.scores import angle_scores
from pipelines.driving.sequences import SPLITS
from pipelines.driving.steering import Steering, load_steering
from pipelines.driving.train import frames_ahead
from pipelines.params.driving import EvaluateDriving
from pipelines.params.read import read_params
from pipelines.training.results import write_results

WINDOWS_AT_ONCE = 32
PROBED = 2000  # windows that the probe on T² is fitted to, at most
MOST_SESSIONS = 8  # so many and more are groups of the bootstrap; of fewer, their minutes are


def streams_of(steering: Steering, samples: DriveSamples, what: str) -> dict[str, NDArray[np.float32]]:
    """Return what the streams say after the last frame of each window; see `Steering.run`."""
    with_subtasks = bool(steering.network.flow_heads)
    parts: list[dict[str, NDArray[np.float32]]] = []
    for at in track(range(0, len(samples), WINDOWS_AT_ONCE), what):
        starts = samples.starts[at : at + WINDOWS_AT_ONCE]
        windows = np.stack([samples.frames(int(start))[-steering.description.frames :] for start in starts])
        parts.append(steering.run(windows, with_subtasks=with_subtasks))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def evaluate_driving(
    steering: Steering, drives: Drives, params: EvaluateDriving
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Score a network on the test drives.

    Returns
    -------
    DataFrame
        A row a frame: columns session (name), sequence, frame (of the store, the last that is observed), time, group
        (of the bootstrap), road (straight, curved or hidden), angle (which was asked for), main, and of a network with
        subtasks t1 and t2_probe; mean_angle and last_known, to have something beside them.
    dict
        Scores.

    Raises
    ------
    UserError
        If the drives are others than the network was trained on, or there are none to test on.
    """
    description = steering.description
    rate = drives.attributes["rate"]
    ours = drives.unit, drives.size, None if rate == "all" else rate
    if ours != (description.unit, (description.height, description.width), description.rate):
        raise UserError(f"{drives.path}: not of the unit, size and rate that {description.name} was trained on")
    if description.frames > params.history:
        raise UserError(
            f"evaluate_driving.history {params.history}: {description.name} has {description.frames} frames"
        )
    ahead = frames_ahead(drives, description.ahead_s)
    # One frame more than is observed: its angle is the last that was known before.
    test = DriveSamples(drives, "test", params.history + 1, ahead=ahead)
    said = streams_of(steering, test, f"evaluate {description.name}")
    last = test.starts + params.history
    angles = drives.rows["angle"].to_numpy(np.float64)
    tolerances = params.of(drives.unit)
    result = drives.rows.loc[last, ["session", "sequence", "time", "hidden"]].reset_index(drop=True)
    result["group"] = _groups(result)
    result["session"] = drives.sessions["name"].to_numpy()[result["session"]]
    result["frame"], result["angle"] = last, angles[last + ahead]
    curved = np.where(result["angle"].abs() >= tolerances.curved, "curved", "straight")
    result["road"] = np.where(result.pop("hidden") == 1, "hidden", curved)
    result["main"] = said["main"]
    if "motion" in said:
        result["t1"], result["t2_probe"] = said["t1"], _probe(steering, drives, params, ahead, said["motion"])
    result["mean_angle"] = angles[drives.rows["split"] == SPLITS.index("train")].mean()
    result["last_known"] = angles[last if ahead else last - description.frames]
    streams = [stream for stream in ("main", "t1", "t2_probe") if stream in result]
    return result, {key: value for stream in streams for key, value in angle_scores(result, stream, tolerances).items()}


def _groups(rows: pd.DataFrame) -> pd.Series:
    """Return what the bootstrap resamples: sessions, or their minutes where sessions are few."""
    if rows["session"].nunique() >= MOST_SESSIONS:
        return rows["session"].astype(str)
    minute = (rows["time"] - rows.groupby("session")["time"].transform("min")) // 60
    return rows["session"].astype(str) + ":" + minute.astype(int).astype(str)


def _probe(
    steering: Steering, drives: Drives, params: EvaluateDriving, ahead: int, motion: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the angle that a ridge regression on T²'s features says, fitted to the train drives."""
    every = max(1, len(drives.windows("train", params.history + 1, ahead)) // PROBED)
    train = DriveSamples(drives, "train", params.history + 1, ahead=ahead, every=every)
    angles = drives.rows["angle"].to_numpy(np.float64)[train.starts + params.history + ahead]
    probe = make_pipeline(StandardScaler(), Ridge())
    probe.fit(streams_of(steering, train, "probe T²")["motion"], angles)
    return np.asarray(probe.predict(motion), np.float64)


def main(model: Path, store: Path, table: Path, picture: Path, metrics: Path) -> None:
    """Evaluate MODEL on STORE's test drives into TABLE (Parquet), PICTURE (an example, PNG) and METRICS (JSON)."""
    drives, steering = open_drives(store), load_steering(model)
    params = read_params().evaluate_driving
    result, scores = evaluate_driving(steering, drives, params)
    write_results(result, scores, table, metrics)
    draw_example(result, drives, steering.description.name, picture)


if __name__ == "__main__":
    run(main)
