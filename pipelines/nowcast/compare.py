"""Stage ``compare``: every method's scores in one table and a few pictures."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.common.errors import UserError
from pipelines.common.files import atomic_path
from pipelines.common.stage import run
from pipelines.nowcast.methods.interface import NAMES, ForecasterFactory, factory
from pipelines.params.nowcast import Index
from pipelines.params.read import Params, read_params
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.grid import pixel_metres
from pipelines.radar.maps import draw_maps, few_leads
from pipelines.radar.store import open_frames, usual_step
from pipelines.verification.bootstrap import KEY
from pipelines.verification.figures import draw_csi, draw_fss, draw_spectra
from pipelines.verification.table import Tables, write_table


def read_scores(scores: Path, params: Params) -> dict[str, pd.DataFrame]:
    """Read the sums of every baseline and model, by name.

    Raises
    ------
    UserError
        If there are none of a model.
    """
    tables = {}
    for name in [*NAMES, *params.trained]:
        try:
            tables[name] = pd.read_parquet(scores / f"{name}.parquet")
        except FileNotFoundError:
            raise UserError(f"params.yaml: trained: {name} has no scores") from None
    return tables


def common_forecasts(tables: Tables) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Keep the forecasts that all methods have; say in a sentence how many were left out.

    Raises
    ------
    UserError
        If there is none.
    """
    forecasts = {name: sums[KEY].drop_duplicates() for name, sums in tables.items()}
    common = None
    for of_method in forecasts.values():
        common = of_method if common is None else common.merge(of_method, on=KEY)
    assert common is not None  # there is a method
    if common.empty:
        raise UserError(f"no forecast that all of {', '.join(tables)} have")
    left_out = max(len(of_method) for of_method in forecasts.values()) - len(common)
    notes = [f"{left_out} forecasts that not every method has are left out."] if left_out else []
    return {name: sums.merge(common, on=KEY) for name, sums in tables.items()}, notes


def write_comparison(
    tables: Tables,
    factories: Mapping[str, ForecasterFactory],
    table: Path,
    *,
    index: Index,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    cells: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> list[Path]:
    """Write the table of ``tables`` to ``table`` (JSON) and beside it as Markdown, and the pictures; give their paths.

    The stage and the command ``scs evaluate`` both come through here.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of :func:`pipelines.nowcast.evaluate.score_methods`, by the method's name.
    factories : mapping of str to ForecasterFactory
        Those methods, to forecast the example that is drawn.
    table : Path
    index : Index
        The frames of a forecast.
    costs, cells, notes
        See :func:`pipelines.verification.table.write_table`.
    """
    kept, left_out = common_forecasts(tables)
    pictures = {name: table.parent / f"{name}.png" for name in ("csi", "fss", "spectra", "maps")}
    markdown = table.with_suffix(".md")
    draw_csi(kept, pictures["csi"])
    draw_fss(kept, pictures["fss"])
    draw_spectra(kept, pictures["spectra"])
    draw_example(kept, factories, pictures["maps"], index=index)
    write_table(kept, markdown, table, costs=costs or {}, cells=cells or {}, notes=[*left_out, *notes])
    return [markdown, table, *pictures.values()]


def draw_example(tables: Tables, factories: Mapping[str, ForecasterFactory], path: Path, *, index: Index) -> None:
    """Draw maps of the wettest forecast: what was observed, and what each method said."""
    sums = next(iter(tables.values()))
    lowest = sums[sums["threshold"] == sums["threshold"].min()]
    observed = (lowest["hits"] + lowest["misses"]).groupby([lowest["store"], lowest["t0"]]).sum()
    store, t0 = observed.idxmax()
    frames = open_frames(Path(store))
    window = frames["rainfall_flux"][t0 : t0 + index.inputs + index.leads].to_numpy()
    seen, future = window[: index.inputs], window[index.inputs :]
    clock = frames["time"].to_numpy()
    step_s, grid = usual_step(clock), grid_of(frames)
    shown = few_leads(index.leads)
    rows = {"observed": [seen[-1], *future[shown]]}
    for name in tables:
        rows[name] = [seen[-1], *factories[name](pixel_metres(grid), step_s)(seen, index.leads)[shown]]
    columns = ["newest observed", *(f"+{(lead + 1) * step_s / 60:g} min" for lead in shown)]
    start = np.datetime_as_string(clock[t0 + index.inputs - 1], "m")
    with atomic_path(path) as temporary:
        draw_maps(rows, columns, grid, f"Rain rate from {start} UTC, the wettest of the forecasts", temporary)


def read_costs(metrics: Path, params: Params) -> dict[str, dict[str, float]]:
    """Read what each network cost, as far as its training told: parameters, training_seconds."""
    costs = {}
    for name in params.trained:
        file = metrics / f"{name}.json"
        told = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        costs[name] = {key: told[key] for key in ("parameters", "training_seconds") if key in told}
    return costs


def main(scores: Path, models: Path, metrics: Path, out: Path) -> None:
    """Compare all tables in the folder SCORES, of the MODELS whose trainings' METRICS are known, into OUT."""
    params = read_params()
    methods = {name: name for name in NAMES} | {name: str(models / name) for name in params.trained}
    factories = {name: factory(model, params.evaluate) for name, model in methods.items()}
    written = write_comparison(
        read_scores(scores, params),
        factories,
        out / "table.json",
        index=params.index,
        costs=read_costs(metrics, params),
        cells={name: params.models[name].cell for name in params.trained},
    )
    print(written[0].read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
