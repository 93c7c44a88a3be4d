"""The flow ``forecast``: one cycle of one domain, from the inbox to the published forecast.

A cycle is (domain, reference time), the reference time being that of the newest frame; one that is published is not
published again. What is wrong with the data is said in one line, in the log and in the state that the flow ends in.
Where there can be no forecast that state is Failed, and there and where another method stands in for the model an alarm
goes off (`flows.alarms`). Last of all ``latest.json`` names the cycle: what is in there is complete.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from prefect import flow, get_client, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.alarms import alarm, tell
from flows.artifacts import show_forecast
from flows.clock import utc
from flows.late_runs import later_run_due, overtaken
from flows.page import show_page
from flows.retries import RETRY
from pipelines.common.errors import Unavailable, UserError, one_line
from pipelines.common.files import exclusive
from pipelines.common.provenance import CHANGED
from pipelines.common.text import printable
from pipelines.operation.inbox import Inbox
from pipelines.operation.inputs import StaleInput, check_age
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.attributes import ForecastAttributes
from pipelines.operation.products.latest import describe, read_latest, update_latest
from pipelines.operation.products.names import stamp
from pipelines.operation.products.published import read_published
from pipelines.operation.sources import of_store
from pipelines.params.operation import Domain, LeftOut
from pipelines.params.radar import IngestRadar
from pipelines.params.read import read_params
from pipelines.radar.frame import Frame

TOLD = 5  # notes in the state's message; the log has all
HANGS_S = 1800  # a cycle that takes longer hangs


class DropTraceback(logging.Filter):
    """Drops Prefect's traceback of a state Failed that a flow has returned: the state says why, in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to keep the record."""
        return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


for name in ("prefect.flow_runs", "prefect.engine"):
    logging.getLogger(name).addFilter(DropTraceback())


collect = task(name="collect", **RETRY)(Inbox.find_whole)
append = task(name="append", **RETRY)(Inbox.store)


@task(name="forecast", **RETRY)
def make_forecast(live: LiveStore, snapshot: str, domain: Domain) -> tuple[xr.Dataset, list[Frame]]:
    """Forecast from a snapshot's newest frames; return those that it is made from, too."""
    # Here, as in the next task, what a frame is read without: by late_runs a run may have nothing to do.
    from pipelines.nowcast.registered_model import load
    from pipelines.operation import forecast as nowcast

    log, source = get_run_logger(), of_store(live.open(snapshot), str(live.path))
    result, observed = nowcast.forecast(
        source,
        partial(load, domain.model, domain.device),
        domain.policy,
        minutes=domain.minutes,
        members=domain.members,
        areas=domain.areas,
        memory_limit_mb=domain.memory_limit_mb,
        snapshot=snapshot,
    )
    first, last = observed[0].time, observed[-1].time
    log.info("%s, frames of %s to %s UTC, snapshot %s", result.attrs["source"], first, last, snapshot)
    return result, observed


@task(name="publish", **RETRY)
def publish(forecast: xr.Dataset, observed: Sequence[Frame], folder: Path, leave_out: Sequence[LeftOut]) -> None:
    """Write a forecast's files, all or none."""
    from pipelines.operation.products.publish import publish as write_products

    write_products(forecast, observed, folder, leave_out)


@task(name="announce", **RETRY)
def announce(domain: Domain, folder: Path) -> None:
    """Show a published forecast in Prefect, and name it in latest.json, with the alarms that it raises or ends."""
    published = read_published(folder)
    fallback = published.attributes.fallback
    changed = fallback if fallback and CHANGED in fallback else None
    left_out = "; ".join(published.attributes.left_out) or None
    show_forecast(domain, published)
    alarms = {"fallback": fallback, "model-changed": changed, "products-left-out": left_out}
    tell(domain, {"no-forecast": None, "stale-input": None} | alarms)
    update_latest(domain, forecast=describe(published, domain.leave_out), alarms={})


@flow(name="forecast", flow_run_name="{domain}", timeout_seconds=HANGS_S)
def forecast(domain: str, now: datetime | None = None) -> State:
    """Collect what came into a domain's inbox, and forecast from the newest frames.

    Parameters
    ----------
    domain : str
        Key of the section ``domains`` in params.yaml.
    now : datetime, optional
        The clock by which frames are old or from the future; UTC unless it says otherwise. The wall clock by default.
    """
    log = get_run_logger()
    clock = utc(now)
    if later := later_run_due():
        return Completed(message=overtaken(later))
    notes: list[str] = []
    with ExitStack() as held:
        try:
            params = read_params()
            settings = params.domain(domain)
        except UserError as error:
            log.error("%s: no forecast: %s", printable(domain), error)
            alarm("no-forecast", domain, str(error))
            return Failed(message=f"no forecast: {error}")
        try:
            try:
                held.enter_context(exclusive(settings.out / ".lock", wait_s=0))
            except Unavailable:
                # Runs that are late start all at once: the first does for all.
                return Completed(message=f"another run for {domain} is in progress")
            done = cycle(settings, params.ingest_radar, clock, notes)
        except Exception as error:
            # What nobody has foreseen is to set off the alarm, too.
            why = one_line(error)
            log.error("%s: no forecast: %s", domain, why, exc_info=not isinstance(error, UserError | OSError))
            alarms: dict[str, str | None] = {"stale-input" if isinstance(error, StaleInput) else "no-forecast": why}
            try:
                tell(settings, alarms | ({"model-changed": why} if CHANGED in why else {}))
            except (UserError, OSError) as also:  # a full disk takes no latest.json either
                notes.append(f"the alarm isn't in latest.json: {one_line(also)}")
            show_page(domain, params.domains)
            return Failed(message=_joined([f"no forecast: {why}", *notes]))
        show_page(domain, params.domains)
    return Completed(message=_joined([done, *notes]))


def cycle(domain: Domain, params: IngestRadar, now: np.datetime64, notes: list[str]) -> str:
    """Run one cycle; return its outcome in words, and in ``notes`` what was wrong with single files.

    Raises
    ------
    UserError
        If there can be no forecast.
    """
    log = get_run_logger()
    live, inbox = LiveStore.of(domain), Inbox(domain.inbox)
    try:
        files = collect(inbox)
        stored = append(inbox, files, live, params, now, domain) if files else 0
    finally:
        notes += dict.fromkeys(inbox.notes)  # another try says some again
        for note in notes:
            log.warning("%s: %s", domain.name, note)

    state = live.open()
    reference, snapshot = state["time"].to_numpy()[-1].astype("datetime64[s]"), state.attrs["snapshot"]
    log.info("%s: %d new frame(s), newest of %s UTC, snapshot %s", domain.name, stored, reference, snapshot)
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=f"{domain.name} {stamp(reference)}")
    check_age(reference, now, domain.policy.max_age_minutes, live.path)
    folder = domain.out / stamp(reference)
    done = f"{folder} is published already"
    if made := not folder.exists():
        result, observed = make_forecast(live, snapshot, domain)
        publish(result, observed, folder, domain.leave_out)
        done = f"published {folder}: {result.sizes['lead_time']} lead times, {result.attrs['source']}"
        for warning in ForecastAttributes.model_validate(result.attrs).warnings:
            log.warning("%s: %s", domain.name, warning)
            notes.append(warning)
    # A run that was killed after it had published has not got so far.
    newest = read_latest(domain.out)["forecast"]
    if made or newest is None or newest["folder"] != folder.name:
        announce(domain, folder)
    return done


def _joined(notes: list[str]) -> str:
    more = [f"and {len(notes) - 1 - TOLD} more in the log"] if len(notes) > 1 + TOLD else []
    return "; ".join([*notes[: 1 + TOLD], *more])
