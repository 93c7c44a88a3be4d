"""Register the flows of every domain, and training, with a Prefect server: ``python -m flows.deploy``.

Each domain of params.yaml has three deployments: its forecast, with its cron in UTC, its verification and its archive;
and prefect.yaml has those of training. To deploy again changes what differs, and removes deployments of this folder
whose domain is no more. What is set by hand in Prefect's UI is set back: those files are where it belongs. What an
automation does stays: whom to call is set in the UI.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect import Flow, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, WorkPoolFilter, WorkPoolFilterName
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import EntrypointType
from prefect.schedules import Cron, Schedule
from prefect.workers.process import ProcessWorker
from ruamel.yaml import YAML

from flows import GPU_POOL, POOL, TRAINING_POOL
from flows.alarms import deploy_automation, deploy_watch, remove_watch
from flows.archive import archive
from flows.forecast import forecast
from flows.train import train
from flows.verify import verify
from pipelines.common.errors import UserError
from pipelines.common.stage import run
from pipelines.params.operation import Domain
from pipelines.params.read import read_params

VERIFY, ARCHIVE = "*/15 * * * *", "30 6 * * *"  # crons; a day is finished at 6:00, see pipelines.operation.archive
TRAININGS = Path("prefect.yaml")
OF_DOMAINS: tuple[Flow[Any, Any], ...] = (forecast, verify, archive)


def crons(domain: Domain) -> dict[str, str]:
    """Return the cron of each flow that a domain has, by the flow's name, UTC."""
    of_archive = {archive.name: ARCHIVE} if domain.archive or domain.removes else {}
    return {forecast.name: domain.cron, verify.name: VERIFY} | of_archive


def deploy() -> None:
    """Make the work pools, deployments and automations; runs will work in the present folder, where params.yaml is.

    Raises
    ------
    UserError
        If a cron is none.
    """
    domains, here = read_params().domains.values(), {"working_dir": str(Path.cwd())}
    with get_client(sync_client=True) as client:
        template = ProcessWorker.get_default_base_job_template()
        for pool in (POOL, TRAINING_POOL, GPU_POOL):
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
    deploy_automation()
    for domain in domains:
        of_domain = crons(domain)
        for flow in OF_DOMAINS:
            if flow.name not in of_domain:
                continue
            try:
                schedule = Cron(of_domain[flow.name], timezone="UTC")
            except ValueError as error:
                raise UserError(f"params.yaml: domains.{domain.name}.cron: {domain.cron!r}: {error}") from None
            deployment = RunnerDeployment.from_flow(
                flow,
                domain.name,
                schedule=schedule,
                parameters={"domain": domain.name},
                tags=[domain.name],
                work_pool_name=POOL,
                job_variables=here,
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
            deployment.apply()
            print(f"{flow.name}/{domain.name}: {of_domain[flow.name]} UTC")
        deploy_watch(domain.name, domain.silent_minutes)
    _remove_others({(flow, domain.name) for domain in domains for flow in crons(domain)}, here)
    deploy_training(here)


def _remove_others(wanted: set[tuple[str, str]], here: dict[str, str]) -> None:
    """Remove this folder's deployments that are none of ``wanted``: they would go on to fail at every cron."""
    with get_client(sync_client=True) as client:
        for flow in OF_DOMAINS:
            ours = client.read_deployments(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[flow.name])),
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
            )
            for old in ours:
                if old.job_variables == here and (flow.name, old.name) not in wanted:
                    client.delete_deployment(old.id)
                    if flow is forecast:
                        remove_watch(old.name)
                    print(f"{flow.name}/{old.name}: removed")


def deploy_training(job_variables: dict[str, Any]) -> None:
    """Register the trainings of the working directory's prefect.yaml, one for each kind of worker.

    Raises
    ------
    UserError
        If a cron is none.
    """
    content = YAML(typ="safe").load(TRAININGS.read_text(encoding="utf-8")) if TRAININGS.exists() else None
    for one in (content or {}).get("deployments", []):
        if one["entrypoint"] not in ("flows/train.py:train", "flows.train.train"):
            continue
        try:
            schedules = [Schedule(**{"timezone": "UTC", **schedule}) for schedule in one.get("schedules", [])]
            deployment = RunnerDeployment.from_flow(
                train,
                one["name"],
                schedules=schedules,
                parameters=one.get("parameters", {}),
                tags=one.get("tags", []),
                concurrency_limit=one.get("concurrency_limit"),
                work_pool_name=one["work_pool"]["name"],
                job_variables=job_variables,
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
        except ValueError as error:
            raise UserError(f"{TRAININGS}: {one['name']}: {' '.join(str(error).split())}") from None
        deployment.apply()
        crons = ", ".join(f"{schedule.cron} UTC" for schedule in schedules) or "when asked for"
        print(f"train/{one['name']}: {crons}, work pool {one['work_pool']['name']}")


if __name__ == "__main__":
    run(deploy)
