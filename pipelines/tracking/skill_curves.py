"""Rolling skill of the issued forecasts in MLflow: one run for each domain and model version, with curves over time."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from pipelines.common.errors import Unavailable, in_short
from pipelines.tracking.store import briefly, connect, find_runs

ALWAYS = "cycles"  # the metric that every point has


@briefly()
def log_skill(
    experiment_name: str,
    domain: str,
    name: str,
    version: str,
    cycles: Iterable[np.datetime64],
    score: Callable[[np.datetime64], Mapping[str, float]],
) -> int:
    """Log the metrics of those cycles that the run hasn't got yet; return how many.

    Parameters
    ----------
    domain, name, version : str
        The run's: of the domain, and of the registered model.
    cycles : iterable of datetime64
        Reference times, UTC. A point's step is its minutes since 1970, its timestamp the reference time.
    score : callable
        From a cycle to its metrics by name, `ALWAYS` among them.

    Raises
    ------
    Unavailable
        If MLflow can't be reached.
    """
    tags = {"domain": domain, "model_name": name, "model_version": version}
    try:
        client = connect(experiment_name)
        experiment = client.get_experiment_by_name(experiment_name)
        assert experiment is not None  # connect has made it
        runs = find_runs(client, experiment.experiment_id, tags, ["attributes.start_time ASC"])
        if runs:
            run = runs[0]
        else:
            # A state for good: no process is at work between two cycles.
            run = client.create_run(experiment.experiment_id, tags=tags, run_name=f"{domain} {name} version {version}")
            client.set_terminated(run.info.run_id)
        known = {point.step for point in client.get_metric_history(run.info.run_id, ALWAYS)} if runs else set()
        logged = 0
        for cycle in cycles:
            step = int(cycle.astype("datetime64[m]").astype(int))
            if step in known:
                continue
            # The metric by which a point is known goes last: a kill before it repeats the point, and loses none.
            found = dict(sorted(score(cycle).items(), key=lambda one: one[0] == ALWAYS))
            points = [Metric(key, float(value), step * 60_000, step) for key, value in found.items()]
            client.log_batch(run.info.run_id, [point for point in points if np.isfinite(point.value)])
            logged += 1
    except MlflowException as error:
        raise Unavailable(f"MLflow: {in_short(error)}") from None
    return logged
