"""The flow ``verify``: score what was issued as soon as it can be, and look whether forecasts come and are of use.

It ends as Failed, in one line, where an alarm is on; what could be verified is in the ledger all the same.
"""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.alarms import alarm
from flows.forecast import RETRY
from pipelines.errors import Unavailable, UserError
from pipelines.latest import update_latest
from pipelines.ledger import LEDGER, append, read_ledger
from pipelines.live import LiveStore
from pipelines.lock import exclusive
from pipelines.params import Domain, Params, read_params
from pipelines.tracking.skill import log_skill
from pipelines.verify import (
    MODEL,
    below_extrapolation,
    headlines,
    published_times,
    score_cycle,
    silent_since,
    unverified,
)

HANGS_S = 3600  # hundreds of cycles wait after an outage


@task(name="score", **RETRY)
def score(name: str, params: Params, now: np.datetime64, notes: list[str]) -> int:
    """Close the cycles that can be closed; give how many."""
    log = get_run_logger()
    domain, closed = params.domain(name), 0
    out = Path(domain.out)
    waiting = unverified(out)
    if not waiting:
        return 0
    stored = LiveStore(Path(domain.store), domain.license).open()
    for reference in waiting:
        try:
            table = score_cycle(out, name, reference, stored, params.evaluate.thresholds, now)
        except Unavailable:
            raise
        except UserError as error:
            notes.append(str(error))
            continue
        if table is None:
            continue
        append(out, reference, table)
        closed += 1
        gaps = table.loc[table["gap"] != "", "minutes"].nunique()
        log.info("%s: cycle of %s UTC is closed%s", name, reference, f" with {gaps} gap(s)" if gaps else "")
    return closed


@task(name="track", **RETRY)
def track(name: str, domain: Domain) -> int:
    """Log rolling skill of the cycles of the last days that MLflow hasn't got yet; give how many points."""
    out, days = Path(domain.out), np.timedelta64(domain.skill_days, "D")
    verified = read_ledger(out, *_span(out, 2 * days))
    logged = 0
    if verified.empty:
        return 0
    own = verified[(verified["gap"] == "") & ~verified["fallback"]]
    recent = own[own["reference_time"] > own["reference_time"].max() - days]
    for (model, version, method), of_model in recent.groupby(MODEL):

        def rolling(cycle: np.datetime64, of: tuple[str, str, str] = (model, version, method)) -> dict[str, float]:
            times = own["reference_time"].to_numpy()
            return headlines(own[(times > cycle - days) & (times <= cycle)], of)

        cycles = np.sort(of_model["reference_time"].unique().astype("datetime64[s]"))
        logged += log_skill(name, model, version, cycles, rolling)
    return logged


@flow(name="verify", flow_run_name="{domain}", timeout_seconds=HANGS_S)
def verify(domain: str, now: datetime | None = None) -> State:
    """Close a domain's cycles that are observed, and raise the alarms of silence and of skill.

    Parameters
    ----------
    domain : str
        Key of the section ``domains`` in params.yaml.
    now : datetime, optional
        The clock by which cycles are closed and forecasts are late; UTC unless it says otherwise. The wall clock by
        default.
    """
    log = get_run_logger()
    clock = now or datetime.now(UTC)
    utc = np.datetime64(clock.astimezone(UTC).replace(tzinfo=None) if clock.tzinfo else clock, "s")
    notes: list[str] = []
    alarms: dict[str, str] = {}
    done = "nothing verified"
    with ExitStack() as held:
        try:
            params = read_params()
            settings = params.domain(domain)
            out = Path(settings.out)
            try:
                held.enter_context(exclusive(out / LEDGER / ".lock", wait_s=0))
            except Unavailable:
                return Completed(message=f"another run for {domain} is in progress")
            if silence := silent_since(out, utc, settings.silent_minutes):
                alarms["no-forecast"] = silence
            closed = score(domain, params, utc, notes)
            done = f"{closed} cycle(s) verified, {len(unverified(out))} open"
            try:
                track(domain, settings)
            except Unavailable as error:
                notes.append(f"not in MLflow yet: {error}")
            poor = below_extrapolation(read_ledger(out, *_span(out, np.timedelta64(settings.skill_days, "D"))))
            if poor:
                alarms["skill-below-extrapolation"] = f"{poor} in the last {settings.skill_days} days"
            update_latest(out, domain, alarms={"skill-below-extrapolation": None, **alarms})
        except UserError as error:
            notes.insert(0, str(error))
            log.error("%s: %s", domain, error)
            return Failed(message="; ".join([done, *alarms.values(), *notes]))
        finally:
            for note in notes:
                log.warning("%s: %s", domain, note)
            for kind, message in alarms.items():
                log.error("%s: %s: %s", domain, kind, message)
                alarm(kind, domain, message)
    if alarms:
        return Failed(message="; ".join([*alarms.values(), done, *notes]))
    return Completed(message="; ".join([done, *notes]))


def _span(out: Path, days: np.timedelta64) -> tuple[np.datetime64 | None, None]:
    """Last days up to the newest forecast: a replay of the past has its own."""
    published = published_times(out)
    return (published[-1] - days if published else None), None
