"""Runs that an outage has delayed: only the newest of a deployment has something to do."""

import json
from collections import defaultdict
from datetime import UTC, datetime

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.types import DateTime

AT_ONCE = 50  # runs whose state Prefect's server sets in one request
PAGE = 200  # runs that it lists in one
WAITING = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING]))
UNFINISHED = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


async def skip_overtaken(client: PrefectClient, pool: str) -> int:
    """Set late runs that haven't begun to Completed where a later one of the same is due; return how many are now.

    Of the same deployment and parameters: forecast, verification and archive each do what earlier runs haven't.
    What the server refuses, as of a run that has begun meanwhile, isn't asked for again.
    """
    due = FlowRunFilter(state=WAITING, expected_start_time=FlowRunFilterExpectedStartTime(before_=DateTime.now(UTC)))
    skipped = 0
    while True:
        runs = await client.read_flow_runs(
            flow_run_filter=due,
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=PAGE,
        )
        same = defaultdict[tuple[str, str], list[FlowRun]](list)
        for run in runs:
            same[str(run.deployment_id), json.dumps(run.parameters, sort_keys=True)].append(run)
        of_page = 0
        for newest, *others in same.values():
            for first in range(0, len(others), AT_ONCE):
                of_page += await _complete(
                    client, others[first : first + AT_ONCE], overtaken(newest.expected_start_time)
                )
        skipped += of_page
        if len(runs) < PAGE or not of_page:
            return skipped


def overtaken(later: datetime | None) -> str:
    """Return the message of a run for which a later one does."""
    return f"overtaken: the run of {later:%Y-%m-%d %H:%M} UTC is due, and does for this one"


async def _complete(client: PrefectClient, runs: list[FlowRun], message: str) -> int:
    """Set runs that still wait to Completed; return of how many the server has accepted it."""
    which = FlowRunFilter(id=FlowRunFilterId(any_=[run.id for run in runs]), state=WAITING)  # as it is by then
    state = {"type": StateType.COMPLETED.value, "message": message}
    asked = {"flow_runs": which.model_dump(mode="json", exclude_unset=True), "state": state}
    path = "/flow_runs/bulk_set_state"  # the client's own list of paths lacks it
    answer = await client.request("POST", path, json=asked)  # type: ignore[arg-type]
    return sum(one["status"] == "ACCEPT" for one in answer.json()["results"])


def later_run_due() -> datetime | None:
    """Return for when a later run of the present one's deployment and parameters was wanted, if it is due by now."""
    context = FlowRunContext.get()
    own = context.flow_run if context else None
    if own is None or own.deployment_id is None or own.expected_start_time is None:
        return None
    due = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[own.deployment_id]),
        expected_start_time=FlowRunFilterExpectedStartTime(after_=own.expected_start_time, before_=DateTime.now(UTC)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED)),
    )
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=due)
    times = [run.expected_start_time for run in runs if run.parameters == own.parameters]
    later = [time for time in times if time is not None and time > own.expected_start_time]
    return max(later, default=None)
