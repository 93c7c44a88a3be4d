"""The worker of the forecasts: ``python -m flows.worker``.

Prefect's process worker, but for two things. Of runs that are late it starts the newest alone: the decision falls here,
before there is a process. And no more than so many run at once: after an outage all domains are due in the same second.
"""

import abc
import asyncio
import os
from typing import Annotated

import anyio.abc
import typer
from prefect.client.schemas.objects import FlowRun
from prefect.logging.configuration import setup_logging
from prefect.settings import PREFECT_API_URL
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from flows import POOL
from flows.late_runs import skip_overtaken
from pipelines.common.errors import UserError
from pipelines.common.processes import cores
from pipelines.common.stage import run

FORECAST = "forecast"  # the flow's name


class ForecastWorker(ProcessWorker, abc.ABC):  # ABC: to Prefect's registry a process worker stays its own
    """Prefect's process worker of the pool `POOL`.

    Parameters
    ----------
    name : str
        By which Prefect knows the worker, and its runs.
    at_once : int
        Forecasts that run at once; beside them verification and archive have half as many places of their own, so that
        hundreds of cycles to be verified keep no forecast waiting.
    """

    def __init__(self, name: str | None, at_once: int) -> None:
        super().__init__(POOL, name=name)
        self._forecasts, self._others = asyncio.Semaphore(at_once), asyncio.Semaphore(max(1, at_once // 2))

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Submit what is due, but for what a later run does as well."""
        await skip_overtaken(self.client, POOL)
        return await super().get_and_submit_flow_runs()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run it as a process as soon as there is a place for it."""
        flow = await self.client.read_flow(flow_run.flow_id)
        async with self._forecasts if flow.name == FORECAST else self._others:
            state = (await self.client.read_flow_run(flow_run.id)).state
            if state and state.is_final():  # overtaken while it waited
                if task_status:
                    task_status.started(0)
                return ProcessWorkerResult(identifier="none", status_code=0)
            return await super().run(flow_run, configuration, task_status)


def main(
    at_once: Annotated[int, typer.Option(min=1, envvar="SCS_FORECASTS_AT_ONCE")] = max(2, cores()),
    name: str | None = None,
) -> None:
    """Work on the runs of the domains until Ctrl-C; by default a forecast on each processor that it may use."""
    if not PREFECT_API_URL.value():
        raise UserError("PREFECT_API_URL: not set; it names the Prefect server whose runs are worked on")
    setup_logging()
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    asyncio.run(ForecastWorker(name, at_once).start())


if __name__ == "__main__":
    run(main)
