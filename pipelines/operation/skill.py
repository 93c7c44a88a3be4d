"""Rolling skill: what the ledger says of each model version, against the baselines of the same cycles."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from pipelines.nowcast.scores import CLIMATOLOGY
from pipelines.operation.verify import FORECASTERS, ISSUED, MODEL
from pipelines.operation.verify_ensemble import with_ranks
from pipelines.operation.verify_probabilities import QUANTITY
from pipelines.verification.ensembles import ensemble_scores
from pipelines.verification.probabilities import crps, probability_headline, probability_scores
from pipelines.verification.scoring import mean_of, scores_of

SHOWN = ["csi", "pod", "far", "bias", "fss_8km", "mae"]
MEMBER_SCORES = ["spread_error", "outliers", "rapsd_ratio_8km"]
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


def skill_by_lead(own: pd.DataFrame) -> pd.DataFrame:
    """Scores of the counted rows of a ledger, index (forecaster, minutes): the mean over thresholds of each `SHOWN`."""
    scores = scores_of(own, ["forecaster", "minutes", "threshold"])
    rained = scores.where(scores["pod"].notna())  # as mean_of has it
    return rained.groupby(level=["forecaster", "minutes"])[SHOWN].mean()


def probability_skill(probabilities: pd.DataFrame | None) -> pd.DataFrame:
    """Scores of the probabilities of each model version in a ledger of them, and of the baselines on the same cycles.

    Returns
    -------
    DataFrame
        Index as of :func:`skill`; columns cycles, and those of
        :func:`pipelines.verification.probabilities.probability_headline`, pooled over cycles: ``crps`` in mm/h, and
        Brier skill against the climatology of the model's training, where it knows that.
    """
    rows = {}
    for (*key, name), sums, reference in of_forecasters(probabilities):
        rows[*key, name] = {"cycles": sums["time"].nunique()} | probability_headline(sums, reference)
    index = pd.MultiIndex.from_tuples(rows, names=[*MODEL, "forecaster"])
    return pd.DataFrame(list(rows.values()), index=index)


def member_crps(members: pd.DataFrame | None) -> pd.DataFrame:
    """Scores of what members of each model version told, and of the baselines on the same cycles, in a ledger of them.

    Returns
    -------
    DataFrame
        Index (model_name, model_version, method, forecaster, quantity); columns ``crps`` and ``crps_fair``: pooled over
        cycles, then the mean over periods or lead times; mm of an amount, mm/h of a rate.
    """
    rows = {}
    if members is not None and not members.empty:
        for key, sums in counted(members).groupby([*MODEL, "forecaster", QUANTITY]):
            scores = probability_scores(sums)
            rows[key] = {"crps": crps(scores).mean(), "crps_fair": crps(scores, "brier_fair").mean()}
    index = pd.MultiIndex.from_tuples(rows, names=[*MODEL, "forecaster", QUANTITY])
    return pd.DataFrame(list(rows.values()), index=index, columns=["crps", "crps_fair"])


def ensemble_skill(ensembles: pd.DataFrame | None) -> pd.DataFrame:
    """Scores of the members that forecasts of each model version kept, in a ledger of them.

    Returns
    -------
    DataFrame
        Index (model_name, model_version, method, members, minutes); columns cycles and `MEMBER_SCORES`, pooled over
        cycles of as many members, see :func:`pipelines.verification.ensembles.ensemble_scores`.
    """
    index, tables = [*MODEL, "members", "minutes"], list[pd.DataFrame]()
    if ensembles is not None and not ensembles.empty:
        for key, sums in counted(ensembles).groupby(index[:-1]):
            of_rate = sums[sums["threshold"] == sums["threshold"].min()]  # these are the same at all
            scores = ensemble_scores(with_ranks(of_rate)).droplevel("threshold")
            cycles = of_rate.groupby("minutes")["reference_time"].nunique().rename("cycles")
            table = scores[MEMBER_SCORES].join(cycles).reset_index().assign(**dict(zip(index[:-1], key, strict=True)))
            tables.append(table)
    if not tables:
        return pd.DataFrame(columns=[*index, "cycles", *MEMBER_SCORES]).set_index(index)
    return pd.concat(tables).set_index(index)[["cycles", *MEMBER_SCORES]]


def of_forecasters(
    probabilities: pd.DataFrame | None,
) -> Iterator[tuple[tuple[str, ...], pd.DataFrame, pd.DataFrame | None]]:
    """Yield each model version's forecasters, with their sums and those of its climatology, as scores want them."""
    if probabilities is None or probabilities.empty:
        return
    own = counted(probabilities).assign(event=0, time=lambda rows: rows["reference_time"])
    for key, of_model in own.groupby(MODEL):
        by_name = dict(list(of_model.groupby("forecaster")))
        for name in (*FORECASTERS, CLIMATOLOGY):
            if name in by_name:
                yield (*key, name), by_name[name], by_name.get(CLIMATOLOGY)


def below_extrapolation(ledger: pd.DataFrame, probabilities: pd.DataFrame | None = None) -> str | None:
    """Return in words by how much the newest model version is worse than extrapolation; None if it isn't.

    In CRPS if its forecasts have probabilities, in mean CSI otherwise. None too for a model of less than `CYCLES`
    cycles, where no rain was observed, and of extrapolation itself: it is worse where something stood in for an input,
    and there is nothing better to go back to.
    """
    own = counted(ledger)
    if own.empty:
        return None
    newest = name, version, method = tuple(own.iloc[own["reference_time"].argmax()][MODEL])
    if method == "extrapolation":
        return None
    csi, of_probabilities = skill(ledger).loc[newest], probability_skill(probabilities)
    cycles = int(csi.loc[ISSUED, "cycles"])
    issued, other = csi["csi"].round(4)[[ISSUED, "extrapolation"]]
    worse, words = issued < other, f"mean CSI {issued:.4f} over {cycles} cycles, below extrapolation's {other:.4f}"
    if newest in of_probabilities.index:
        rain = np.isfinite(issued)
        issued, other = of_probabilities.loc[newest, "crps"].round(4)[[ISSUED, "extrapolation"]]
        worse = rain and issued > other
        words = f"CRPS {issued:.4f} mm/h over {cycles} cycles, above extrapolation's {other:.4f}"
    return f"{name} version {version} ({method}): {words}" if worse and cycles >= CYCLES else None


def headlines(
    ledger: pd.DataFrame,
    model: tuple[str, str, str],
    probabilities: pd.DataFrame | None = None,
    members: pd.DataFrame | None = None,
    ensembles: pd.DataFrame | None = None,
) -> dict[str, float]:
    """Scores of one model's cycles by name, as MLflow's metrics: such as ``issued_csi``, and ``cycles``.

    Of what members told, such as ``issued_crps_rainfall_amount_60min``; of themselves, such as
    ``issued_spread_error_60min``, of the number of members that most cycles had.
    """
    tables = skill(ledger), probability_skill(probabilities)
    scores = {"cycles": float(tables[0].loc[(*model, ISSUED), "cycles"])}
    for table in (table.drop(columns="cycles").loc[model] for table in tables if model in table.index):
        scores |= {f"{name}_{score}": float(value) for (name, score), value in table.stack().items()}
    of_members = member_crps(members)
    if model in of_members.index:
        named = of_members.loc[model].stack().items()
        scores |= {f"{name}_{score}_{quantity}": float(value) for (name, quantity, score), value in named}
    of_ensemble = ensemble_skill(ensembles)
    if model in of_ensemble.index:
        by_lead = of_ensemble.loc[model]
        by_lead = by_lead.loc[by_lead["cycles"].groupby("members").max().idxmax()][MEMBER_SCORES]
        scores |= {f"{ISSUED}_{name}": float(value) for name, value in by_lead.mean().items()}
        for minutes in by_lead.index.intersection([30.0, 60.0]):
            scores |= {f"{ISSUED}_{name}_{minutes:g}min": float(value) for name, value in by_lead.loc[minutes].items()}
    return scores
