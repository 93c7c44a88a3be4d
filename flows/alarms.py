"""Alarms: what someone on duty has to hear of, as events of Prefect, and the automations that wait for them.

An event is called ``scs.alarm.KIND`` and is of the resource ``scs.domain.DOMAIN``, or ``scs.service.NAME`` where a part
of ``make serve`` has ended; its payload has the message. What to do about each kind: docs/operations.md.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, get_args

from prefect import get_client
from prefect.automations import AutomationCore, DoNothing, EventTrigger, Posture
from prefect.client.orchestration import SyncPrefectClient
from prefect.events import Event, Resource, emit_event

from pipelines.operation.products.latest import read_latest, update_latest
from pipelines.params.operation import Domain

Kind = Literal[
    "no-forecast",
    "stale-input",
    "fallback",
    "model-changed",
    "products-left-out",
    "skill-below-extrapolation",
    "reliability-drift",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
ENDED = "service-ended"
AUTOMATION, WATCH = "scs alarms", "scs watch {}"
KEPT = {"name", "description", "enabled", "tags", "actions", "actions_on_trigger", "actions_on_resolve"}


def alarm(kind: str, domain: str, message: str) -> None:
    """Emit an alarm to Prefect, of one of `KINDS` and in one line; within a flow run the event names that run too."""
    resource = {"prefect.resource.id": f"scs.domain.{domain}", "prefect.resource.name": domain}
    emit_event(f"scs.alarm.{kind}", resource, payload={"kind": kind, "domain": domain, "message": message})


def service_alarm(client: SyncPrefectClient, service: str, message: str) -> None:
    """Emit the alarm `ENDED` of a part of ``make serve``; raises httpx.HTTPError where the server doesn't take it."""
    resource = Resource({"prefect.resource.id": f"scs.service.{service}", "prefect.resource.name": service})
    payload = {"kind": ENDED, "service": service, "message": message}
    event = Event(event=f"scs.alarm.{ENDED}", resource=resource, payload=payload)
    client.request("POST", "/events", json=[event.model_dump(mode="json")])


def tell(domain: Domain, alarms: Mapping[str, str | None]) -> None:
    """Bring ``latest.json`` in line with a domain's alarms, as `update_latest`, and tell Prefect of new ones."""
    on = {one["kind"] for one in read_latest(domain.out)["alarms"]}
    for kind, message in alarms.items():
        if message is not None and kind not in on:
            alarm(kind, domain.name, message)  # before it is written: a kill between the two repeats it, and loses none
    update_latest(domain, alarms=alarms)


def deploy_automation() -> None:
    """Make the automation `AUTOMATION` that every alarm sets off, unless there is one of this name.

    It does nothing but be seen in Prefect's list of events: whom to call, and how, is set in Prefect's UI, and stays.
    """
    trigger = EventTrigger(
        expect={f"scs.alarm.{kind}" for kind in (*KINDS, ENDED)},
        match={"prefect.resource.id": ["scs.domain.*", "scs.service.*"]},
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )
    _deploy(
        AUTOMATION, trigger, "An alarm of a radar forecast. Put the notification that you want in place of its action."
    )


def deploy_watch(domain: str, minutes: float | None) -> None:
    """Make the automation that notices what no flow can tell of: that none runs, as where the worker is dead.

    Prefect's server itself sets it off when no run of a domain's forecast was Completed for ``minutes``, and again each
    time that they pass.

    Parameters
    ----------
    domain : str
        Whose forecast has been deployed.
    minutes : float or None
        None for no such automation.
    """
    if minutes is None:
        return remove_watch(domain)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"forecast/{domain}").id
    trigger = EventTrigger(
        expect={"prefect.flow-run.Completed"},
        match_related={
            "prefect.resource.role": "deployment",
            "prefect.resource.id": f"prefect.deployment.{deployment}",
        },
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(minutes=minutes),
    )
    _deploy(WATCH.format(domain), trigger, "No forecast run of this domain was Completed. Is its worker alive?")
    return None


def remove_watch(domain: str) -> None:
    """Remove a domain's automation of :func:`deploy_watch`, if there is one."""
    with get_client(sync_client=True) as client:
        for found in client.read_automations_by_name(WATCH.format(domain)):
            client.delete_automation(found.id)


def _deploy(name: str, trigger: EventTrigger, description: str) -> None:
    """Bring an automation's trigger up to date; what it does is kept, and is nothing at first."""
    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(name)
        if not found:
            client.create_automation(
                AutomationCore(name=name, description=description, trigger=trigger, actions=[DoNothing()])
            )
        elif not _same(found[0].trigger, trigger):
            core = found[0].model_dump(include=KEPT)
            client.update_automation(found[0].id, AutomationCore.model_validate(core | {"trigger": trigger}))


def _same(one: object, other: EventTrigger) -> bool:
    compared = {"posture", "expect", "match", "match_related", "for_each", "threshold", "within"}
    return isinstance(one, EventTrigger) and one.model_dump(include=compared) == other.model_dump(include=compared)
