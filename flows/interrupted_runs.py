"""Runs that are said to go on, and whose process is gone."""

from collections.abc import Iterable
from datetime import datetime

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

from flows.services import RUN, environments

WORKER = "prefect.worker.name"  # Prefect's label of a run that a worker has taken


def set_to_crashed(
    client: SyncPrefectClient, pools: Iterable[str], worker: str, ended: datetime | None = None
) -> list[str]:
    """Set runs of a worker that has ended to Crashed, but for those whose process goes on; return their names.

    The next cycle, or the next training, does what they have not done. Runs that a worker of another machine or folder
    has taken are its own.

    Parameters
    ----------
    client : SyncPrefectClient
    pools : iterable of str
    worker : str
        The worker's name.
    ended : datetime, optional
        When it ended, if another of its name may be at work by now: what has been pending since then is that one's,
        and is to get a process yet.
    """
    unfinished = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=unfinished)),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=list(pools))),
    )
    alive = {environment.get(RUN) for _, environment in environments()}
    crashed = []
    for run in runs:
        if run.labels.get(WORKER, worker) != worker or str(run.id) in alive:
            continue
        now = client.read_flow_run(run.id).state  # it may have ended, in order, since it was listed
        another = ended and now and now.is_pending() and now.timestamp > ended
        if now is not None and not now.is_final() and not another:
            client.set_flow_run_state(run.id, Crashed(message="its worker was stopped"), force=True)
            crashed.append(run.name)
    return crashed
