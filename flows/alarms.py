"""Alarms: what someone on duty has to hear of, as events of Prefect, and the automation that waits for them.

An event is called ``scs.alarm.KIND`` and is of the resource ``scs.domain.DOMAIN``; its payload has the message. What
to do about each kind: docs/operations.md.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from prefect import get_client
from prefect.automations import Automation, DoNothing, EventTrigger, Posture
from prefect.events import emit_event

from pipelines.latest import read_latest, update_latest

Kind = Literal["no-forecast", "stale-input", "fallback", "skill-below-extrapolation"]
KINDS: tuple[Kind, ...] = get_args(Kind)
AUTOMATION = "scs alarms"


def alarm(kind: str, domain: str, message: str) -> None:
    """Tell Prefect of an alarm; within a flow run the event names that run too.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    domain : str
        Key of the section ``domains`` in params.yaml.
    message : str
        One line.
    """
    resource = {"prefect.resource.id": f"scs.domain.{domain}", "prefect.resource.name": domain}
    emit_event(f"scs.alarm.{kind}", resource, payload={"kind": kind, "domain": domain, "message": message})


def tell(domain: str, out: Path, alarms: Mapping[str, str | None]) -> None:
    """Bring ``latest.json`` in line with the alarms of a domain, and tell Prefect of those that weren't on yet.

    Parameters
    ----------
    domain : str
        Key of the section ``domains`` in params.yaml.
    out : Path
        The domain's folder of forecasts.
    alarms : mapping of str to str or None
        See :func:`pipelines.latest.update_latest`.
    """
    on = {one["kind"] for one in read_latest(out)["alarms"]}
    for kind, message in alarms.items():
        if message is not None and kind not in on:
            alarm(kind, domain, message)  # before it is written: a kill between the two repeats it, and loses none
    update_latest(out, domain, alarms=alarms)


def deploy_automation() -> None:
    """Make the automation `AUTOMATION` that every alarm sets off, unless there is one of this name.

    It does nothing but be seen in Prefect's list of events: whom to call, and how, is set in Prefect's UI, and stays.
    """
    with get_client(sync_client=True) as client:
        if client.read_automations_by_name(AUTOMATION):
            return
    Automation(
        name=AUTOMATION,
        description="An alarm of a radar forecast. Put the notification that you want in place of its action.",
        trigger=EventTrigger(
            expect={f"scs.alarm.{kind}" for kind in KINDS},
            match={"prefect.resource.id": "scs.domain.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[DoNothing()],
    ).create()
