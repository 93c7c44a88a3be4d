"""The deployments of the flow ``train``: those of prefect.yaml, one for each kind of worker."""

from pathlib import Path
from typing import Any

from prefect.deployments.runner import RunnerDeployment
from prefect.flows import EntrypointType
from prefect.schedules import Schedule
from ruamel.yaml import YAML

from flows.train import train
from pipelines.common.errors import UserError

FILE = Path("prefect.yaml")


def training_deployments() -> list[dict[str, Any]]:
    """Read those of the working directory's prefect.yaml; none where there is no such file."""
    if not FILE.exists():
        return []
    content = YAML(typ="safe").load(FILE.read_text(encoding="utf-8")) or {}
    return [one for one in content.get("deployments", []) if one["entrypoint"] == "flows/train.py:train"]


def deploy_training(job_variables: dict[str, Any]) -> None:
    """Register them with the Prefect server.

    Parameters
    ----------
    job_variables : dict
        Where flow runs work.

    Raises
    ------
    UserError
        If a cron is none.
    """
    for one in training_deployments():
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
            raise UserError(f"{FILE}: {one['name']}: {' '.join(str(error).split())}") from None
        deployment.apply()
        crons = ", ".join(f"{schedule.cron} UTC" for schedule in schedules) or "when asked for"
        print(f"train/{one['name']}: {crons}, work pool {one['work_pool']['name']}")
