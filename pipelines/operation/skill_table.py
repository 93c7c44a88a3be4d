"""The command ``scs skill``: a domain's rolling skill, by lead time too, and a day's cycles, as Markdown."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.common.errors import UserError
from pipelines.common.markdown import table_head, table_row
from pipelines.operation.ledger import BESIDE, LEDGER, read_ledger
from pipelines.operation.products.published import published_times
from pipelines.operation.reliability import reliability
from pipelines.operation.skill import (
    MEMBER_SCORES,
    SHOWN,
    counted,
    ensemble_skill,
    member_crps,
    of_forecasters,
    probability_skill,
    skill,
    skill_by_lead,
)
from pipelines.operation.verify import FORECASTERS, ISSUED, MODEL, unverified
from pipelines.verification.probabilities import crps, few_rates, probability_scores
from pipelines.verification.scoring import mean_of, scores_of

DAY = np.timedelta64(1, "D")
OF_A_CYCLE = ["csi", "fss_8km", "mae"]
HEADS = {
    "bias": "bias",
    "fss_8km": "FSS 8 km",
    "spread_error": "spread / error",
    "outliers": "outliers",
    "rapsd_ratio_8km": "RAPSD at 8 km",
}
HOW = (
    "Scores are pooled over the cycles, then the mean over thresholds and lead times at which such rain was observed; "
    "MAE and CRPS in mm/h. All on the same pixels: observed at the valid time and known to each. nan: no such rain. "
    "A forecaster without probabilities says 0 or 1; Brier skill is against the climatology that the model knows. "
    "Reliability: what came of what was said to be unlikely (below 50 %) and likely; of the odds of the two 1 is best. "
    "Of members 1 is best in each."
)


def skill_table(out: Path, days: int, day: np.datetime64 | None = None) -> str:
    """Tabulate what the ledger says of a domain's forecasts; raises UserError if nothing was published by then.

    Parameters
    ----------
    out : Path
        The domain's folder of forecasts.
    days : int
        Of rolling skill, up to the newest forecast, or to the end of ``day``.
    day : numpy.datetime64, optional
        Whose cycles are listed, UTC; that of the newest forecast by default.
    """
    published = _published(out, day)
    newest = published[-1]
    ledger, probabilities, members, ensembles = _ledgers(out, newest, days)
    own = counted(ledger)
    lines = [f"Rolling skill, the last {days} days up to {newest} UTC:", ""]
    lines += table_head("model", "version", "method", "forecaster", "cycles", *map(_head, SHOWN))
    of_models = skill(ledger)
    for model in of_models.index.droplevel("forecaster").unique():
        for name in FORECASTERS:
            row = of_models.loc[(*model, name)]
            lines.append(table_row(*model, name, f"{row['cycles']:g}", *(f"{row[score]:.3f}" for score in SHOWN)))
    if not own.empty:
        lines += ["", "By lead time, minutes:", ""]
        leads = np.sort(own["minutes"].unique())
        lines += table_head("score", "forecaster", *(f"{minutes:g}" for minutes in leads))
        by_lead = skill_by_lead(own)
        for score in SHOWN:
            for name in FORECASTERS:
                cells = by_lead.loc[name][score].reindex(leads)
                lines.append(table_row(_head(score), name, *(f"{cell:.3f}" for cell in cells)))
    of_probabilities = list(of_forecasters(probabilities))
    if of_probabilities:
        lines += ["", "Probabilities, by lead time, minutes:", ""]
        leads = np.unique(np.concatenate([sums["minutes"] for _, sums, _ in of_probabilities]))
        lines += table_head("model", "version", "score", "forecaster", "mean", *(f"{minutes:g}" for minutes in leads))
        for (*model, _, name), sums, reference in of_probabilities:
            scores = probability_scores(sums, reference)
            rows = {"CRPS": crps(scores)}
            if reference is not None and name == ISSUED:
                skills = scores["brier_skill"].unstack("minutes")
                rows |= {f"Brier skill, {rate:g} mm/h": skills.loc[rate] for rate in few_rates(skills.index)}
            for score, by_lead in rows.items():
                values = by_lead.mean(), *by_lead.reindex(leads)
                lines.append(table_row(*model, score, name, *(f"{value:.3f}" for value in values)))
    lines += [*_of_members(members), *_of_ensembles(ensembles), *_reliability(probabilities, members)]
    date = newest.astype("datetime64[D]") if day is None else day
    lines += ["", f"Cycles of {date}; scores are {', '.join(FORECASTERS)}:", ""]
    lines += table_head("cycle, UTC", "made by", "lead times", "gaps", *map(_head, OF_A_CYCLE))
    of_day = read_ledger(out, date.astype("datetime64[s]") - np.timedelta64(1, "s"), newest)
    waiting = unverified(out)
    for time in (time for time in published if time >= date):
        if time in waiting:
            lines.append(table_row(_clock(time), "", "", "open", *("" for _ in OF_A_CYCLE)))
        else:
            lines.append(_cycle(time, of_day[of_day["reference_time"] == time]))
    return "\n".join([*lines, "", HOW])


def skill_records(out: Path, days: int, day: np.datetime64 | None = None) -> dict[str, Any]:
    """Return the scores of :func:`skill_table`, of the same parameters, as records by kind."""
    newest = _published(out, day)[-1]
    ledger, probabilities, members, ensembles = _ledgers(out, newest, days)
    tables = {
        "skill": skill(ledger),
        "skill_by_lead": skill_by_lead(counted(ledger)) if not ledger.empty else pd.DataFrame(),
        "probabilities": probability_skill(probabilities),
        "members": member_crps(members),
        "ensembles": ensemble_skill(ensembles),
    }
    records = {kind: table.reset_index().to_dict("records") if len(table) else [] for kind, table in tables.items()}
    return {"newest": newest, "days": days} | records


def _published(out: Path, day: np.datetime64 | None) -> list[np.datetime64]:
    published = [time for time in published_times(out) if day is None or time < day.astype("datetime64[D]") + DAY]
    if not published:
        raise UserError(f"{out}: no forecast has been published{f' up to {day}' if day is not None else ''}")
    return published


def _ledgers(out: Path, newest: np.datetime64, days: int) -> list[pd.DataFrame]:
    since = newest - np.timedelta64(days, "D")
    return [read_ledger(out, since, newest, kind) for kind in (LEDGER, *BESIDE)]


def _of_members(members: pd.DataFrame) -> list[str]:
    of_members = member_crps(members)["crps"].unstack("forecaster")
    if of_members.empty:
        return []
    lines = ["", "Amounts and areas, by members, CRPS:", ""]
    lines += table_head("model", "version", "quantity", *FORECASTERS)
    for (name, version, _, quantity), of_forecaster in of_members.iterrows():
        lines.append(table_row(name, version, quantity, *(f"{of_forecaster[one]:.3f}" for one in FORECASTERS)))
    return lines


def _of_ensembles(ensembles: pd.DataFrame) -> list[str]:
    of_models = ensemble_skill(ensembles)
    if of_models.empty:
        return []
    leads = np.unique(of_models.index.get_level_values("minutes"))
    lines = ["", "Members, by lead time, minutes:", ""]
    lines += table_head("model", "version", "members", "score", *(f"{minutes:g}" for minutes in leads))
    for (name, version, _, members), table in of_models.groupby([*MODEL, "members"]):
        for score in MEMBER_SCORES:
            cells = table[score].droplevel([*MODEL, "members"]).reindex(leads)
            lines.append(table_row(name, version, f"{members:g}", _head(score), *(f"{cell:.3f}" for cell in cells)))
    return lines


def _reliability(probabilities: pd.DataFrame, members: pd.DataFrame) -> list[str]:
    lines = []
    for (name, version, _), quantity, table in reliability(probabilities, members):
        for row in table[table["blocks"] > 0].reset_index().itertuples():
            ends = f"{row.odds:.2g} [{row.low:.2g} to {row.high:.2g}]"
            shares = f"{row.said:.2%}", f"{row.came:.2%}"
            lines.append(
                table_row(name, version, quantity, f"{row.threshold:g}", row.label, *shares, ends, f"{row.blocks}")
            )
    if not lines:
        return []
    heads = "model", "version", "quantity", "at least", "where it was", "said", "came", "odds [95 %]", "blocks"
    return ["", "Reliability:", "", *table_head(*heads), *lines]


def _cycle(time: np.datetime64, rows: pd.DataFrame) -> str:
    issued = rows[rows["forecaster"] == ISSUED]
    leads = issued["minutes"].nunique()
    gaps = issued.loc[issued["gap"] != "", "minutes"].nunique(dropna=False)
    by = " ".join(issued.iloc[0][MODEL[:2]]).strip() or "can't be read"
    if issued["fallback"].any():
        by = f"fallback: {issued.iloc[0]['method']}"
    scored = rows[rows["gap"] == ""]
    scores = {name: scores_of(of, ["threshold", "minutes"]) for name, of in scored.groupby("forecaster")}
    cells = (
        " · ".join(f"{mean_of(scores[name], score):.3f}" for name in FORECASTERS) if scores else "–"
        for score in OF_A_CYCLE
    )
    return table_row(_clock(time), by, f"{leads}", f"{gaps}" if gaps else "", *cells)


def _clock(time: np.datetime64) -> str:
    return np.datetime_as_string(time, "m")[-5:]


def _head(score: str) -> str:
    return HEADS.get(score, score.upper())
