"""How good angles are: near enough how often, how far off, how smooth."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipelines.params.driving import DrivingModel, Tolerances
from pipelines.verification.group_bootstrap import bootstrap_mean

ROADS = ("straight", "curved", "hidden")
Interval = tuple[float, float, float]


def near(result: pd.DataFrame, stream: str, within: float) -> pd.Series:
    """Return whether each frame's angle is within a tolerance of what was asked for."""
    return (result[stream] - result["angle"]).abs() <= within


def accuracy(result: pd.DataFrame, stream: str, within: float) -> Interval:
    """Return the share of frames within a tolerance, and its 95 % interval over the groups."""
    return bootstrap_mean(near(result, stream, within), result["group"])


def difference(result: pd.DataFrame, other: pd.DataFrame, within: float) -> Interval:
    """Return the accuracy of one network minus that of another on the frames that both have, and its interval."""
    ours, theirs = (near(one.set_index("frame"), "main", within).astype(int) for one in (result, other))
    gained = (ours - theirs).dropna()
    return bootstrap_mean(gained, result.set_index("frame")["group"].loc[gained.index])


def change(result: pd.DataFrame, stream: str) -> float:
    """Return how much an angle changes from a frame to the next, on average: the less, the smoother."""
    follows = (result["sequence"].diff() == 0) & (result["frame"].diff() == 1)
    return float(result[stream].diff()[follows].abs().mean())


def angle_scores(result: pd.DataFrame, stream: str, tolerances: Tolerances) -> dict[str, float]:
    """Return the scores of a stream: accuracies (of all roads and of each), MAE, RMSE and change."""
    prefix = "" if stream == "main" else f"{stream}_"
    error = result[stream] - result["angle"]
    scores = {f"accuracy_{within:g}": float(near(result, stream, within).mean()) for within in tolerances.within}
    scores |= {"accuracy": scores[f"accuracy_{tolerances.headline:g}"], "mae": float(error.abs().mean())}
    scores |= {"rmse": float(np.sqrt((error**2).mean())), "change": change(result, stream)}
    by_road = near(result, stream, tolerances.headline).groupby(result["road"]).mean()
    scores |= {f"accuracy_{road}": float(by_road[road]) for road in ROADS if road in by_road}
    return {prefix + key: value for key, value in scores.items()}


def baselines(results: Mapping[str, pd.DataFrame], models: Mapping[str, DrivingModel]) -> dict[str, pd.DataFrame]:
    """Return what needs no network, as tables like theirs: the mean angle, and the last known before what is observed.

    Where the angle of a later time is asked for, the last known is that at the last frame, for all networks the same.
    """
    first = next(iter(results.values()))
    made = {"mean angle": first.assign(main=first["mean_angle"])}
    for name, result in results.items():
        made.setdefault(f"last known angle, {models[name].frames} frames", result.assign(main=result["last_known"]))
    return {name: table.drop(columns=["t1", "t2_probe"], errors="ignore") for name, table in made.items()}
