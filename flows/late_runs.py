"""Runs that an outage has delayed: only the newest of a deployment has something to do."""

from datetime import UTC, datetime

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.types import DateTime

UNFINISHED = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]


def later_run_due(domain: str) -> datetime | None:
    """Return for when a later run of the present one's deployment and domain was wanted, if it is due by now."""
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
    times = [run.expected_start_time for run in runs if run.parameters.get("domain") == domain]
    later = [time for time in times if time is not None and time > own.expected_start_time]
    return max(later, default=None)
