"""MLflow's table of runs with the scores in it: without a view of its own it shows none until columns are chosen.

MLflow's UI keeps a view that someone shares as a tag of the experiment, and opens it by the tag's name. There is no
function for it; the keys are those of its own button *Share*.
"""

import json

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE  # an experiment's has the same name

from pipelines.tracking.registry import SHOWN, RegisteredModel
from pipelines.tracking.store import connect

VIEW = "scores"
NOTE = "[Runs by their scores](#/experiments/{id}/runs?viewStateShareKey={view}): the best of {metric} first."


def share_view(of: RegisteredModel) -> None:
    """Set the view `VIEW` of a registered model's experiment, and a description that leads there if it has none."""
    client = connect(of.name)
    experiment = client.get_experiment_by_name(of.name)
    assert experiment is not None  # connect has made it
    metrics, tags = ([f"{kind}.`{key}`" for key in keys] for kind, keys in (("metrics", of.shown), ("tags", SHOWN[:2])))
    view = {"orderByKey": metrics[0], "orderByAsc": False, "selectedColumns": [*metrics, *tags]}
    wanted = {f"mlflow.sharedViewState.{VIEW}": json.dumps(view)}
    if MLFLOW_RUN_NOTE not in experiment.tags:
        wanted[MLFLOW_RUN_NOTE] = NOTE.format(id=experiment.experiment_id, view=VIEW, metric=of.shown[0])
    for key, value in wanted.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)
