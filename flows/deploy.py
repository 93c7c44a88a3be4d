"""Register the hourly forecast of every domain, and training, with a Prefect server: ``python -m flows.deploy``.

One deployment a domain of params.yaml, with its cron in UTC, and prefect.yaml's of training. To deploy again changes
what differs, and removes deployments of this folder whose domain is no more. What is set by hand in Prefect's UI is set
back: those files are where it belongs.
"""

from contextlib import suppress
from pathlib import Path

from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, WorkPoolFilter, WorkPoolFilterName
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import EntrypointType
from prefect.schedules import Cron
from prefect.workers.process import ProcessWorker

from flows import GPU_POOL, POOL, TRAINING_POOL
from flows.forecast import forecast
from flows.training_deployments import deploy_training
from pipelines.errors import UserError
from pipelines.params import read_params
from pipelines.stage import run


def deploy() -> None:
    """Make the work pools and the deployments; flow runs will work in the present folder, where params.yaml is.

    Raises
    ------
    UserError
        If a cron is none.
    """
    domains, here = read_params().domains, {"working_dir": str(Path.cwd())}
    with get_client(sync_client=True) as client:
        template = ProcessWorker.get_default_base_job_template()
        for pool in (POOL, TRAINING_POOL, GPU_POOL):
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
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
            job_variables=here,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        deployment.apply()
        print(f"forecast/{name}: {domain.cron} UTC, {domain.inbox} -> {domain.out}")
    with get_client(sync_client=True) as client:
        ours = client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[forecast.name])),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        )
        for old in ours:
            if old.job_variables == here and old.name not in domains:
                client.delete_deployment(old.id)  # else it would go on to fail at every cron
                print(f"forecast/{old.name}: removed")
    deploy_training(here)


if __name__ == "__main__":
    run(deploy)
