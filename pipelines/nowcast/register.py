"""Stage ``register``: make the registry agree with the models and their scores, and choose the champion.

It runs each time and changes only what differs: an empty registry is filled after `dvc pull`, a model that is there
already gets no second version. Extrapolation is version 1 and the first champion.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from pipelines.common.errors import UserError
from pipelines.common.provenance import dvc_md5, sha256
from pipelines.common.stage import run
from pipelines.nowcast.evaluate import evaluate, forecast_seconds, unfinished_evaluation
from pipelines.nowcast.methods.description import ModelDescription
from pipelines.nowcast.methods.interface import FALLBACKS, INPUTS, factory_from, load_forecaster
from pipelines.nowcast.methods.memory_use import measure
from pipelines.nowcast.model_card import model_card
from pipelines.nowcast.promotion import CRPS, MEAN_CSI, judge
from pipelines.nowcast.registered_model import load
from pipelines.nowcast.scores import CLIMATOLOGY, by_field, read_probabilities, read_scores
from pipelines.nowcast.specification import NAME, RADAR
from pipelines.params.read import Params, read_params
from pipelines.tracking import decisions
from pipelines.tracking.best_version import settle
from pipelines.tracking.registry import Version
from pipelines.verification.bootstrap import Tables, common_forecasts
from pipelines.verification.probabilities import probability_headline
from pipelines.verification.scoring import headline


def write_extrapolation(folder: Path) -> None:
    """Write the model that extrapolation is: its name, and how many frames it looks at."""
    folder.mkdir()
    description = ModelDescription(method="extrapolation", inputs=INPUTS["extrapolation"])
    description.write(folder)


def register(
    tables: Tables, windows: Path, models: Path, *, params: Params, probabilities: Tables = MappingProxyType({})
) -> dict[str, Version]:
    """Register extrapolation and every model in ``models`` that has scores, with these; return versions by name.

    A new version gets its model card: ``tables`` and ``probabilities`` are its scores on the test events of
    ``windows``.
    """
    versions = {}
    with tempfile.TemporaryDirectory() as scratch:
        first = Path(scratch) / "extrapolation"
        write_extrapolation(first)
        folders = {"extrapolation": first} | {name: models / name for name in params.trained if name in tables}
        unmeasured = {}
        for name, folder in folders.items():
            scores = headline(tables[name])
            if name in probabilities:
                scores |= probability_headline(probabilities[name], probabilities.get(CLIMATOLOGY))
            versions[name] = version = RADAR.ensure_version(name, folder, scores, trained=name != "extrapolation")
            if not RADAR.has_card(version):
                import torch  # here, not above: it takes seconds, and mostly there is nothing new

                tags, metrics = RADAR.tags_and_metrics(version)
                forecaster, description = load_forecaster(folder, "cpu")
                seconds, shape = forecast_seconds(forecaster, windows, params.index)
                if description.network is not None:
                    unmeasured[folder] = version
                card = model_card(
                    *(name, description, tables, probabilities, scores),
                    windows=sha256(windows),
                    latency=f"{seconds:.2g} s for {shape[0]} lead times of {shape[1]} × {shape[2]} pixels, "
                    f"by {torch.get_num_threads()} thread(s) of the machine that registered it",
                    tags=tags,
                    metrics=metrics,
                )
                RADAR.set_card(version, card)
        for version, taken in zip(unmeasured.values(), measure(unmeasured), strict=True):
            RADAR.set_memory(version, taken)
    return versions


def score_anew(version: Version, windows: Path, params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluate a registered model on the present test events; return the sums of its first field, and of probabilities.

    Raises
    ------
    UserError
        If it is lost, or wants more frames or other steps than these windows have.
    """
    model = load(f"models:/{NAME}/{version.number}", params.evaluate.device)
    make = factory_from(model.forecaster, model.description)
    of = (model.method, version.sha256, windows)
    settings = params.evaluate.model_copy(update={"members": None})  # no version is chosen by them
    with unfinished_evaluation(*of, index=params.index, params=settings) as checkpoints:
        sums, of_probabilities, _ = evaluate(
            *(make, model.method, windows, checkpoints), index=params.index, params=settings
        )
    return by_field(model.method, sums)[model.method], of_probabilities


def choose(
    windows: Path,
    tables: Tables,
    versions: Mapping[str, Version],
    *,
    params: Params,
    probabilities: Tables = MappingProxyType({}),
) -> None:
    """Point ``challenger`` at the best network, and ``champion`` at it too if the gate says so.

    See :func:`pipelines.nowcast.promotion.judge`. Where networks give probabilities, the best is one of them, by CRPS.
    A champion that isn't among the present models is scored anew on the same forecasts; one that can't be (it wants
    more frames, or other steps, or is lost) stays. What was decided once on the same versions and scores isn't decided
    again, even if a hand has overruled it since.
    """
    decisions.catch_up(RADAR)
    networks = [name for name in params.trained if name in tables]
    # Probabilities of 0 and 1 alone are those of a field.
    probabilistic = [name for name in networks if name in probabilities and probabilities[name]["spread"].any()]
    metric, tables, networks = (CRPS, probabilities, probabilistic) if probabilistic else (MEAN_CSI, tables, networks)
    if "extrapolation" not in tables:
        raise UserError("no probabilities of extrapolation, which a network has to beat: evaluate it again")
    kept, _ = common_forecasts({name: tables[name] for name in networks})
    values = {name: metric.value(sums) for name, sums in kept.items()}
    best = max(values, key=lambda name: (metric.merit(values[name]), name))
    challenger = versions[best]
    RADAR.set_alias("challenger", challenger, f"best {metric.name} of the networks, {values[best]:.4f}")
    champion = RADAR.find_alias("champion")
    if champion is None:
        champion = versions["extrapolation"]
        decisions.record(RADAR, champion, "first", "the first champion: no model to compare with yet", {})
    if champion.sha256 == challenger.sha256:
        print(f"champion: version {champion.number} stays: it is the best network, {best}")
        return

    of_content = (name for name, version in versions.items() if version.sha256 == champion.sha256 and name in tables)
    present = next(of_content, None)
    forecasts = {"windows_sha256": sha256(windows), "dvc_md5.windows": dvc_md5(windows)}
    upon = [challenger.sha256, champion.sha256, forecasts["windows_sha256"]]
    upon += [_digest(tables[name]) for name in dict.fromkeys((best, "extrapolation", present or best))]
    key = hashlib.sha256(" ".join(upon).encode()).hexdigest()
    before = next((entry for entry in decisions.read_decisions(RADAR) if entry.key == key), None)
    if before is not None:
        print(f"champion: version {champion.number} stays: decided on the same at {before.time:%F %H:%M} UTC")
        return

    evidence: dict[str, Any] = {"challenger": best, "challenger_version": challenger.number, **forecasts}
    versus = f"{best}, version {challenger.number}, against version {champion.number}"
    try:
        of_champion = tables[present] if present else score_anew(champion, windows, params)[metric is CRPS]
        judgement = judge(tables[best], of_champion, tables["extrapolation"], metric)
    except UserError as error:
        chosen, words = champion, f"{versus}, which can't be scored on these forecasts: {error}"
    else:
        chosen = challenger if judgement.promoted else champion
        words = f"{versus}: {judgement}"
        evidence |= {"judgement": judgement.evidence()}
        if present is None:
            tags, _ = RADAR.tags_and_metrics(champion)
            if tags.get("model") not in FALLBACKS and tags.get("dvc_md5.windows") != forecasts["dvc_md5.windows"]:
                words += "; the champion was trained on other windows: it may have seen these test events"
    decisions.record(RADAR, chosen, "gate", words, evidence, key)
    print(f"champion: version {chosen.number}{' stays' if chosen is champion else ''}: {words}")


def _digest(sums: pd.DataFrame) -> str:
    return hashlib.sha256(pd.util.hash_pandas_object(sums, index=False).to_numpy().tobytes()).hexdigest()


def main(windows: Path, scores: Path, probabilities: Path, models: Path) -> None:
    """Register the MODELS with their SCORES and PROBABILITIES; an experiment (`dvc exp run`) never moves an alias."""
    params = read_params()
    tables = read_scores(scores, params)
    of_probabilities = read_probabilities(probabilities, tables)
    versions = register(tables, windows, models, params=params, probabilities=of_probabilities)

    def choose_champion() -> str:
        choose(windows, tables, versions, params=params, probabilities=of_probabilities)
        return f"decision: {decisions.champion_periods(decisions.read_decisions(RADAR))[-1]}"

    settle(RADAR, versions, choose_champion, scores.parent / "comparison")


if __name__ == "__main__":
    run(main)
