"""Deployments on a real Prefect server: what runs when, and that what is no more is taken away."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Served, write_params
from domains import domain_in
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowFilter, FlowFilterName
from prefect.events.actions import CancelFlowRun
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.server.schemas.schedules import CronSchedule
from prefect.settings import temporary_settings
from waiting import eventually

from flows.alarms import AUTOMATION, WATCH, deploy_watch
from flows.deploy import crons, deploy
from pipelines.common.errors import UserError


@pytest.fixture
def client(served: Served) -> Iterator[SyncPrefectClient]:
    with temporary_settings(served.settings), get_client(sync_client=True) as client:
        yield client


def deployed(client: SyncPrefectClient) -> dict[str, list[str]]:
    """Crons by the deployment's whole name."""
    flows = {flow.id: flow.name for flow in client.read_flows()}
    return {f"{flows[d.flow_id]}/{d.name}": [s.schedule.cron for s in d.schedules] for d in client.read_deployments()}


def test_each_domain_is_scheduled_at_its_crons_in_utc(client: SyncPrefectClient) -> None:
    for flow, cron in (("forecast", "0 * * * *"), ("verify", "*/15 * * * *"), ("archive", "30 6 * * *")):
        deployment = client.read_deployment_by_name(f"{flow}/worked")
        (schedule,) = deployment.schedules
        assert (schedule.schedule.cron, schedule.schedule.timezone, schedule.active) == (cron, "UTC", True)
        assert deployment.work_pool_name == "forecasts" and deployment.parameters == {"domain": "worked"}
    asked = {
        "deployment_filter": DeploymentFilter(name=DeploymentFilterName(any_=["worked"])),
        "flow_filter": FlowFilter(name=FlowFilterName(any_=["forecast"])),
    }

    def two_at_least() -> list[datetime]:
        starts = sorted(run.expected_start_time for run in client.read_flow_runs(**asked) if run.auto_scheduled)
        return starts if len(starts) > 1 else []

    starts = eventually(two_at_least)
    assert all((start.minute, start.second) == (0, 0) for start in starts)
    assert (starts[1] - starts[0]).total_seconds() == 3600


@pytest.mark.parametrize("day", ["2024-03-31", "2024-10-27"])  # on which clocks of Europe change
def test_on_a_day_on_which_clocks_change_there_is_a_run_an_hour(client: SyncPrefectClient, day: str) -> None:
    (schedule,) = client.read_deployment_by_name("forecast/worked").schedules
    cron = CronSchedule.model_validate(schedule.schedule.model_dump())
    starts = asyncio.run(cron.get_dates(25, start=datetime.fromisoformat(f"{day}T00:00:00+02:00")))
    assert {(later - one).total_seconds() for one, later in pairwise(starts)} == {3600}


def test_to_deploy_again_changes_what_differs_and_removes_what_is_no_more(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def after(domains: dict[str, dict]) -> dict[str, list[str]]:
        write_params(tmp_path, domains)
        deploy()
        return deployed(client)

    others = deployed(client)
    assert "forecast/worked" in others, "of another folder"
    both = after({"one": {}, "two": {"cron": "5 * * * *"}})
    of_one = {"forecast/one": ["0 * * * *"], "verify/one": ["*/15 * * * *"], "archive/one": ["30 6 * * *"]}
    of_two = {"verify/two": ["*/15 * * * *"], "archive/two": ["30 6 * * *"]}
    assert both == others | of_one | of_two | {"forecast/two": ["5 * * * *"]}
    assert len(client.read_automations_by_name(AUTOMATION)) == 1
    changed = after({"one": {"archive": None}, "two": {"cron": "35 * * * *"}})
    del of_one["archive/one"]
    assert changed == others | of_one | of_two | {"forecast/two": ["35 * * * *"]}
    assert after({}) == others
    write_params(tmp_path, {"one": {"cron": "never"}})
    with pytest.raises(UserError, match=r"params\.yaml: domains\.one\.cron: 'never': "):
        deploy()


@pytest.mark.parametrize("changes", [{}, {"archive": None, "keep_done_days": 30}])
def test_what_archives_or_removes_is_scheduled(tmp_path: Path, changes: dict) -> None:
    assert crons(domain_in(tmp_path, **changes))["archive"] == "30 6 * * *"
    assert "archive" not in crons(domain_in(tmp_path, archive=None))


# Long: the server's SQLite has a client wait where it is at work on automations itself.
@pytest.mark.full
def test_a_watch_follows_its_domain_and_keeps_what_it_does(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"one": {"silent_minutes": 90}, "two": {}})
    deploy()
    (watch,) = client.read_automations_by_name(WATCH.format("one"))
    deployment = client.read_deployment_by_name("forecast/one")
    assert isinstance(watch.trigger, EventTrigger) and watch.trigger.within == timedelta(minutes=90)
    assert watch.trigger.match_related.root["prefect.resource.id"] == f"prefect.deployment.{deployment.id}"
    # What it does is set in Prefect's UI, and stays when the minutes change.
    client.update_automation(
        watch.id,
        AutomationCore(name=watch.name, trigger=watch.trigger, actions=[CancelFlowRun(type="cancel-flow-run")]),
    )
    write_params(tmp_path, {"one": {"silent_minutes": 30}, "two": {}})
    deploy()
    (watch,) = client.read_automations_by_name(WATCH.format("one"))
    assert watch.trigger.within == timedelta(minutes=30) and watch.actions[0].type == "cancel-flow-run"
    assert not client.read_automations_by_name(WATCH.format("two"))
    write_params(tmp_path, {})
    deploy()
    assert not client.read_automations_by_name(WATCH.format("one"))


@pytest.mark.full
def test_that_no_run_comes_is_noticed_by_the_server_itself(served: Served, client: SyncPrefectClient) -> None:
    begun = datetime.now(UTC).isoformat()
    deploy_watch("worked", 0.25)
    (watch,) = client.read_automations_by_name(WATCH.format("worked"))
    asked = {
        "filter": {
            "event": {"name": ["prefect.automation.triggered"]},
            "resource": {"id": [f"prefect.automation.{watch.id}"]},
            "occurred": {"since": begun},
        }
    }
    fired = eventually(lambda: client.request("POST", "/events/filter", json=asked).json()["events"])
    deploy_watch("worked", None)
    assert fired and not client.read_automations_by_name(WATCH.format("worked"))
