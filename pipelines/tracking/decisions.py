"""Who was champion from when to when, and why: one finished MLflow run for each decision, never changed after.

A decision's run is made first, then the alias moves, then the run is finished. What a kill cuts off in between,
:func:`catch_up` settles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import mlflow

from pipelines.common.provenance import code_commit
from pipelines.common.text import printable
from pipelines.tracking.registry import RegisteredModel, Version
from pipelines.tracking.store import connect

EVIDENCE = "decision.json"


@dataclass(frozen=True)
class Decision:
    """A decision about who is champion.

    Parameters
    ----------
    time : datetime
        UTC.
    by : str
        gate, promote, rollback; first, for the first champion; found, for one that was set without a decision.
    key : str
        What was decided upon; empty unless by the gate.
    before, champion : str
        The champion's version before ("none" for none) and after.
    words : str
        Why.
    """

    time: datetime
    by: str
    key: str
    before: str
    champion: str
    words: str


@dataclass(frozen=True)
class ChampionPeriod:
    """A champion's version, UTC times from when to when (None: it still is), and the decision that made it one."""

    version: str
    since: datetime
    until: datetime | None
    by: str
    words: str

    def __str__(self) -> str:
        until = f"{self.until:%F %H:%M}" if self.until else "now"
        return printable(f"version {self.version}, {self.since:%F %H:%M} to {until} UTC, by {self.by}: {self.words}")


def experiment_of(model: RegisteredModel) -> str:
    """Return the name of the experiment that keeps the decisions about a model."""
    return f"{model.name}-decisions"


def read_decisions(model: RegisteredModel) -> list[Decision]:
    """Read all decisions about a model, the oldest first."""
    connect(experiment_of(model))
    runs = mlflow.search_runs(
        experiment_names=[experiment_of(model)],
        filter_string="attributes.status = 'FINISHED'",
        order_by=["attributes.start_time ASC"],
        output_format="list",
    )
    return [
        Decision(
            datetime.fromtimestamp(run.info.start_time / 1000, UTC),
            *(run.data.tags[tag] for tag in ("by", "key", "before", "champion", "words")),
        )
        for run in runs
    ]


def champion_periods(decisions: Sequence[Decision]) -> list[ChampionPeriod]:
    """Return from when to when each champion was one, the oldest first, from all decisions."""
    changes = [one for k, one in enumerate(decisions) if k == 0 or one.champion != decisions[k - 1].champion]
    return [
        ChampionPeriod(one.champion, one.time, after.time if after else None, one.by, one.words)
        for one, after in zip_longest(changes, changes[1:])
    ]


def not_taken_back(periods: Sequence[ChampionPeriod]) -> list[ChampionPeriod]:
    """Return the champions without those from which a rollback went back: the present one is last."""
    kept: list[ChampionPeriod] = []
    for period in periods:
        if period.by == "rollback" and len(kept) > 1 and kept[-2].version == period.version:
            kept.pop()
        else:
            kept.append(period)
    return kept


def record(
    model: RegisteredModel, champion: Version, by: str, words: str, evidence: Mapping[str, Any], key: str = ""
) -> None:
    """Keep a decision for good, and point the alias ``champion`` at what it says.

    Parameters
    ----------
    champion : Version
        Who is champion from now on; the present one if the decision is that it stays.
    by, words, key
        See `Decision`.
    evidence : mapping
        What was known, for JSON.

    Raises
    ------
    UserError
        If a new champion's content is lost, or isn't what was registered.
    """
    before = model.find_alias("champion")
    if before is None or before.number != champion.number:
        model.check(champion)
    client = connect(experiment_of(model))
    experiment = client.get_experiment_by_name(experiment_of(model))
    assert experiment is not None  # connect has made it
    tags = {
        "by": by,
        "key": key,
        "before": before.number if before else "none",
        "champion": champion.number,
        "words": words,
        "code_commit": code_commit(),
    }
    run = client.create_run(experiment.experiment_id, tags=tags, run_name=f"{by}: version {champion.number}")
    client.log_dict(run.info.run_id, tags | dict(evidence), EVIDENCE)
    model.set_alias("champion", champion, words)
    client.set_terminated(run.info.run_id)


def catch_up(model: RegisteredModel) -> None:
    """Settle decisions that a kill cut off, and record a champion that was set without one (in MLflow's UI, say)."""
    client = connect(experiment_of(model))
    champion = model.find_alias("champion")
    cut_off = mlflow.search_runs(
        experiment_names=[experiment_of(model)], filter_string="attributes.status = 'RUNNING'", output_format="list"
    )
    for run in cut_off:
        moved = champion and run.data.tags["champion"] == champion.number != run.data.tags["before"]
        client.set_terminated(run.info.run_id, "FINISHED" if moved else "KILLED")
    known = read_decisions(model)
    if champion and (not known or known[-1].champion != champion.number):
        record(model, champion, "found", "found as the champion: set without a decision, some time before", {})
