"""The flow ``verify``: score what was issued as soon as it can be, and look whether forecasts come and are of use.

It ends as Failed, in one line, where an alarm is on; what could be verified is in the ledger all the same.
"""

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.alarms import tell
from flows.clock import utc
from flows.page import show_page
from flows.retries import RETRY
from pipelines.common.errors import Unavailable, UserError, one_line
from pipelines.common.files import exclusive
from pipelines.common.text import printable
from pipelines.nowcast.specification import NAME
from pipelines.operation.ledger import BESIDE, LEDGER, MEMBERS, PROBABILITIES, read_ledger
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.published import published_times, silent_since
from pipelines.operation.reliability import drift
from pipelines.operation.skill import below_extrapolation, counted, headlines
from pipelines.operation.verify import MODEL, close_cycles, unverified
from pipelines.params.operation import Domain
from pipelines.params.read import read_params
from pipelines.tracking.skill_curves import log_skill

HANGS_S = 3600  # hundreds of cycles wait after an outage


@task(name="score", **RETRY)
def score(domain: Domain, thresholds: list[float], now: np.datetime64) -> tuple[int, list[str]]:
    """Close the cycles that can be closed; return how many, and what was wrong with others."""
    log, closed, problems = get_run_logger(), 0, list[str]()
    if not unverified(domain.out):
        return 0, []
    for reference, gaps in close_cycles(domain, LiveStore.of(domain).open(), thresholds, now, problems):
        closed += 1
        log.info("%s: cycle of %s UTC is closed%s", domain.name, reference, f", with {gaps} gap(s)" if gaps else "")
    return closed, problems


# Without a further try: the next run logs what this one couldn't.
@task(name="track", cache_policy=NO_CACHE)
def track(domain: Domain) -> int:
    """Log rolling skill of the cycles of the last days that MLflow hasn't got yet; return how many points."""
    days = np.timedelta64(domain.skill_days, "D")
    own, *beside = (_last(domain.out, 2 * days, kind) for kind in (LEDGER, *BESIDE))
    own, logged = counted(own), 0
    if own.empty:
        return 0
    recent = own[own["reference_time"] > own["reference_time"].max() - days]
    for (model, version, method), of_model in recent.groupby(MODEL):

        def rolling(cycle: np.datetime64, of: tuple[str, str, str] = (model, version, method)) -> dict[str, float]:
            fields, *others = (
                table if table.empty else table[table["reference_time"].between(cycle - days, cycle, inclusive="right")]
                for table in (own, *beside)
            )
            return headlines(fields, of, *others)

        cycles = np.sort(of_model["reference_time"].unique().astype("datetime64[s]"))
        logged += log_skill(f"{NAME}-verification", domain.name, model, version, cycles, rolling)
    return logged


@flow(name="verify", flow_run_name="{domain}", timeout_seconds=HANGS_S)
def verify(domain: str, now: datetime | None = None) -> State:
    """Close a domain's cycles that are observed, and raise the alarms of silence, skill and reliability.

    Parameters
    ----------
    domain : str
        Key of the section ``domains`` in params.yaml.
    now : datetime, optional
        The clock by which cycles are closed and forecasts are late; UTC unless it says otherwise. The wall clock by
        default.
    """
    log = get_run_logger()
    clock = utc(now)
    with ExitStack() as held:
        try:
            params = read_params()
            settings = params.domain(domain)
            out = settings.out
            try:
                held.enter_context(exclusive(out / LEDGER / ".lock", wait_s=0))
            except Unavailable:
                return Completed(message=f"another run for {domain} is in progress")
        except (UserError, OSError) as error:
            log.error("%s: not verified: %s", printable(domain), one_line(error))
            return Failed(message=f"not verified: {one_line(error)}")
        done, wrong, notes, alarms = "nothing verified", list[str](), list[str](), dict[str, str | None]()
        try:
            closed, wrong = score(settings, params.evaluate.thresholds, clock)
            done = f"{closed} cycle(s) verified, {len(unverified(out))} open"
        except Exception as error:  # whatever it is, here and below: silence is an alarm all the same
            wrong = [one_line(error)]
        try:
            track(settings)
        except Unavailable as error:
            notes.append(f"skill isn't in MLflow yet: {error}")
        except Exception as error:
            wrong.append(one_line(error))
        try:
            alarms |= skill_alarms(settings)
        except Exception as error:
            wrong.append(one_line(error))
        silence = silent_since(out, clock, settings.silent_minutes)
        if silence:
            alarms["no-forecast"] = silence  # to take it back is the next forecast's
        try:
            tell(settings, alarms)
        except (UserError, OSError) as error:  # a full disk takes no latest.json
            wrong.append(f"the alarms aren't in latest.json: {one_line(error)}")
        show_page(domain, params.domains, scores=True)
    wrong = list(dict.fromkeys(wrong))  # the ledger is read more than once
    for problem in wrong:
        log.error("%s: %s", domain, problem)
    for note in notes:
        log.warning("%s: %s", domain, note)
    on = [message for message in alarms.values() if message]
    message = "; ".join([*on, *wrong, done, *notes])
    return Failed(message=message) if on or wrong else Completed(message=message)


def skill_alarms(domain: Domain) -> dict[str, str | None]:
    """Return the alarms of skill and reliability over the last days, each in words, or None where it isn't on."""
    days = np.timedelta64(domain.skill_days, "D")
    ledger, probabilities, members = (_last(domain.out, days, kind) for kind in (LEDGER, PROBABILITIES, MEMBERS))
    found = {
        "skill-below-extrapolation": below_extrapolation(ledger, probabilities),
        "reliability-drift": drift(probabilities, members),
    }
    return {kind: words and f"{words} in the last {domain.skill_days} days" for kind, words in found.items()}


def _last(out: Path, days: np.timedelta64, kind: str = LEDGER) -> pd.DataFrame:
    """Ledger of the last days up to the newest forecast: a replay of the past has its own."""
    published = published_times(out)
    return read_ledger(out, published[-1] - days if published else None, kind=kind)
