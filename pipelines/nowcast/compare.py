"""Stage ``compare``: every method's scores in one table and a few pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path
from pipelines.common.stage import run
from pipelines.nowcast.scores import (
    CLIMATOLOGY,
    Examples,
    read_examples,
    read_probabilities,
    read_scores,
    wettest,
)
from pipelines.params.nowcast import BASELINES, PYSTEPS, Index
from pipelines.params.read import Params, read_params
from pipelines.radar.cadence import open_frames_at
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.clock import usual_step
from pipelines.radar.lead_times import few_leads
from pipelines.radar.maps import draw_maps
from pipelines.verification.bootstrap import Tables, common_forecasts
from pipelines.verification.figures import (
    draw_brier_skill,
    draw_crps,
    draw_csi,
    draw_fss,
    draw_reliability,
    draw_spectra,
)
from pipelines.verification.image_table import image_section
from pipelines.verification.images import IMAGE_SUMS
from pipelines.verification.member_table import member_section
from pipelines.verification.probabilities import probability_scores
from pipelines.verification.probability_table import probability_section
from pipelines.verification.scoring import pooled
from pipelines.verification.table import write_table


def write_comparison(
    tables: Tables,
    examples: Mapping[str, Examples],
    table: Path,
    *,
    index: Index,
    probabilities: Tables | None = None,
    members: Tables | None = None,
    networks: Sequence[str] = (),
    costs: Mapping[str, Mapping[str, float]] | None = None,
    notes: Sequence[str] = (),
) -> list[Path]:
    """Write the table of ``tables`` to ``table`` (JSON) and beside it as Markdown, and the pictures; return all paths.

    The stage and the command ``scs evaluate`` both come through here.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of :func:`pipelines.nowcast.hindcast.score_methods`, of fields, by the method's name.
    examples : mapping of str to Examples
        Of the same methods; their further fields, "NAME (KIND)", have none.
    index : Index
        The frames of a forecast.
    probabilities : mapping of str to DataFrame, optional
        Of the same function, of probabilities; of none there is no second table, and no picture.
    members : mapping of str to DataFrame, optional
        Of the same function, of members, in a third table.
    networks, costs, notes
        See :func:`pipelines.verification.table.write_table`.
    """
    kept, left_out = common_forecasts(tables)
    scores = {name: pooled(sums) for name, sums in kept.items()}
    pictures = {name: table.parent / f"{name}.png" for name in ("csi", "fss", "spectra", "maps")}
    markdown = table.with_suffix(".md")
    draw_csi(scores, pictures["csi"], BASELINES)
    draw_fss(scores, pictures["fss"], BASELINES)
    draw_spectra(kept, pictures["spectra"], BASELINES)
    drawn = {name: of for name, of in examples.items() if name != CLIMATOLOGY} or examples  # it is the same everywhere
    draw_example(wettest(kept[next(iter(kept))]), drawn, pictures["maps"], index=index)
    in_brackets = ["In brackets: another field of the same run."] if tables.keys() - examples.keys() else []
    notes = [*left_out, *in_brackets, *notes]
    sections = {}
    if all({*IMAGE_SUMS} <= {*sums} for sums in kept.values()):
        sections["images"] = image_section(kept)
    if probabilities:
        common, _ = common_forecasts(probabilities)
        sections["probabilities"] = probability_section(
            common, climatology=CLIMATOLOGY, rivals=BASELINES, networks=networks
        )
        of_probabilities = {name: probability_scores(sums, common.get(CLIMATOLOGY)) for name, sums in common.items()}
        pictures |= {name: table.parent / f"{name}.png" for name in ("crps", "brier_skill", "reliability")}
        draw_crps(of_probabilities, pictures["crps"], BASELINES)
        draw_brier_skill(of_probabilities, pictures["brier_skill"], BASELINES)
        draw_reliability(common, pictures["reliability"], BASELINES)
    if members:
        sections["members"] = member_section(common_forecasts(members)[0], rivals=BASELINES)
    write_table(
        *(kept, scores, markdown, table),
        rivals=PYSTEPS,
        networks=networks,
        costs=costs,
        notes=notes,
        sections=sections,
    )
    return [markdown, table, *pictures.values()]


def draw_example(forecast: tuple[str, int], examples: Mapping[str, Examples], path: Path, *, index: Index) -> None:
    """Draw maps of a forecast by its store and first frame: what was observed, and what each method made of it.

    Raises
    ------
    UserError
        If a method has no example of it.
    """
    store, t0 = forecast
    frames = open_frames_at(Path(store), index.step_s)
    clock, grid = frames["time"].to_numpy(), grid_of(frames)
    newest, shown = t0 + index.inputs - 1, few_leads(index.leads)
    observed = frames["rainfall_flux"][[newest, *(newest + 1 + shown)]].to_numpy()
    rows = {"observed": list(observed)}
    for name, of_method in examples.items():
        if forecast not in of_method:
            raise UserError(f"{name}: no example from frame {t0} of {store}: evaluate it again")
        rows[name] = [observed[0], *of_method[forecast]]
    step_s = usual_step(clock)
    columns = ["newest observed", *(f"+{(lead + 1) * step_s / 60:g} min" for lead in shown)]
    start = np.datetime_as_string(clock[newest], "m")
    with atomic_path(path) as temporary:
        draw_maps(rows, columns, grid, f"Rain rate from {start} UTC, the wettest of the forecasts", temporary)


def read_costs(metrics: Path, params: Params) -> dict[str, dict[str, float]]:
    """Return what each network cost, as far as its training told: parameters, training_seconds."""
    costs = {}
    for name in params.trained:
        file = metrics / f"{name}.json"
        told = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        costs[name] = {key: told[key] for key in ("parameters", "training_seconds") if key in told}
    return costs


def main(scores: Path, probabilities: Path, members: Path, examples: Path, metrics: Path, out: Path) -> None:
    """Compare all tables in SCORES, PROBABILITIES, MEMBERS, with EXAMPLES and their trainings' METRICS, into OUT."""
    params = read_params()
    tables = read_scores(scores, params)
    methods = [*params.baselines, *params.trained]
    missing = [name for name in methods if name not in tables]
    written = write_comparison(
        tables,
        {name: read_examples(examples / f"{name}.nc") for name in methods if name in tables},
        out / "table.json",
        index=params.index,
        probabilities=read_probabilities(probabilities, methods),
        members=read_probabilities(members, methods),
        networks=[name for name in params.trained if params.models[name].cell != "scs"],
        costs=read_costs(metrics, params),
        notes=[f"Not evaluated yet: {', '.join(missing)}; `dvc repro` does that."] if missing else [],
    )
    print(written[0].read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
