"""Register the hourly forecast of every domain in params.yaml with a Prefect server: ``python -m flows.deploy``.

One deployment a domain, with its cron in UTC. To deploy again changes what differs. What is set by hand in Prefect's
UI is set back: params.yaml is where it belongs.
"""

from contextlib import suppress
from pathlib import Path

from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import EntrypointType
from prefect.schedules import Cron
from prefect.workers.process import ProcessWorker

from flows import POOL
from flows.forecast import forecast
from pipelines.errors import UserError
from pipelines.params import read_params
from pipelines.stage import run


def deploy() -> None:
    """Make the work pool and the deployments; flow runs will work in the present folder, where params.yaml is.

    Raises
    ------
    UserError
        If a cron is none.
    """
    domains = read_params().domains
    with get_client(sync_client=True) as client:
        template = ProcessWorker.get_default_base_job_template()
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    for name, domain in domains.items():
        try:
            schedule = Cron(domain.cron, timezone="UTC")
        except ValueError as error:
            raise UserError(f"params.yaml: domains.{name}.cron: {domain.cron!r}: {error}") from None
        deployment = RunnerDeployment.from_flow(
            forecast,
            name,
            schedule=schedule,
            parameters={"domain": name},
            tags=[name],
            work_pool_name=POOL,
            job_variables={"working_dir": str(Path.cwd())},
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        deployment.apply()
        print(f"forecast/{name}: {domain.cron} UTC, {domain.inbox} -> {domain.out}")


if __name__ == "__main__":
    run(deploy)
