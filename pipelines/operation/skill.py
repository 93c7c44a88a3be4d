"""Rolling skill: what the ledger says of each model version, against the baselines of the same cycles."""

import pandas as pd

from pipelines.operation.verify import ISSUED, MODEL
from pipelines.verification.scoring import mean_of, scores_of

SHOWN = ["csi", "pod", "far", "bias", "fss_8km", "mae"]
CYCLES = 6  # closed cycles of a model before its skill is told of in an alarm


def counted(ledger: pd.DataFrame) -> pd.DataFrame:
    """Rows in which something was counted; what was issued as a fallback is no model's, and left out."""
    return ledger if ledger.empty else ledger[(ledger["gap"] == "") & ~ledger["fallback"]]


def skill(ledger: pd.DataFrame) -> pd.DataFrame:
    """Scores of each model version in a ledger, and of the baselines on the same cycles.

    Returns
    -------
    DataFrame
        Index (model_name, model_version, method, forecaster); columns cycles, and the columns `SHOWN` of
        :func:`pipelines.verification.scoring.scores_of`: pooled over cycles, then the mean over those thresholds and
        lead times at which rain was observed.
    """
    rows = {}
    if not ledger.empty:
        for key, of_model in counted(ledger).groupby([*MODEL, "forecaster"]):
            scores = scores_of(of_model, ["threshold", "minutes"])
            cycles = of_model["reference_time"].nunique()
            rows[key] = {"cycles": cycles} | {name: mean_of(scores, name) for name in SHOWN}
    index = pd.MultiIndex.from_tuples(rows, names=[*MODEL, "forecaster"])
    return pd.DataFrame(list(rows.values()), index=index, columns=["cycles", *SHOWN])


def below_extrapolation(ledger: pd.DataFrame) -> str | None:
    """Return in words by how much the newest model version is below extrapolation in mean CSI; None if it isn't.

    None too for a model of less than `CYCLES` cycles, and where no rain was observed.
    """
    table = skill(ledger)
    if table.empty:
        return None
    own = counted(ledger)
    newest = own.iloc[own["reference_time"].argmax()][MODEL]
    csi = table.loc[tuple(newest), "csi"].round(4)
    cycles = int(table.loc[(*newest, ISSUED), "cycles"])
    if cycles < CYCLES or not csi[ISSUED] < csi["extrapolation"]:
        return None
    name, version, method = newest
    return (
        f"{name} version {version} ({method}): mean CSI {csi[ISSUED]:.4f} over {cycles} cycles, below extrapolation's "
        f"{csi['extrapolation']:.4f}"
    )


def headlines(ledger: pd.DataFrame, model: tuple[str, str, str]) -> dict[str, float]:
    """Scores of one model's cycles in a ledger by name, as MLflow's metrics: such as ``issued_csi``, and ``cycles``."""
    of_model = skill(ledger).loc[model]
    scores = {f"{name}_{score}": float(of_model.loc[name, score]) for name in of_model.index for score in SHOWN}
    return scores | {"cycles": float(of_model["cycles"].max())}
