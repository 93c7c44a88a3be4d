"""Learning curves of an experiment's trainings, out of MLflow."""

import pandas as pd

from pipelines.common.errors import UserError
from pipelines.tracking.runs import OF_TRAINED
from pipelines.tracking.store import connect, find_runs


def learning_curves(experiment: str, dvc_exp: str, metric: str) -> pd.DataFrame:
    """Return a metric of every training of one DVC experiment, step by step; of each model the newest training.

    Parameters
    ----------
    experiment : str
        MLflow's, the registered model's name.
    dvc_exp : str
        Name of the DVC experiment.
    metric : str
        Such as ``validation_loss``.

    Returns
    -------
    DataFrame
        Columns ``model``, ``step``, ``value`` and ``commit``, a row a point, in order.

    Raises
    ------
    UserError
        If there is no such training, or none with the metric.
    """
    client = connect(experiment)
    found = client.get_experiment_by_name(experiment)
    assert found is not None  # connect has made it
    runs = find_runs(client, found.experiment_id, {"dvc_exp": dvc_exp}, ["attributes.start_time DESC"])
    newest = {run.data.tags["model"]: run for run in reversed(runs) if "model" in run.data.tags}
    rows = []
    for model, run in newest.items():
        of_model = {point.step for point in client.get_metric_history(run.info.run_id, OF_TRAINED)}
        rows += [
            {"model": model, "step": point.step, "value": point.value, "commit": run.data.tags.get("code_commit", "")}
            for point in client.get_metric_history(run.info.run_id, metric)
            if point.step not in of_model
        ]
    if not rows:
        raise UserError(f"MLflow: {experiment}: no training of the DVC experiment {dvc_exp!r} has {metric}")
    table = pd.DataFrame(rows).drop_duplicates(["model", "step"], keep="last")  # what an interruption made anew
    return table.sort_values(["model", "step"], ignore_index=True)
