"""One training, by what it is known: keys of params.yaml, a folder of checkpoints, a run in MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.common.checkpoints import checkpoint_folder
from pipelines.common.provenance import dvc_md5
from pipelines.params.training import Fit, Switched
from pipelines.tracking.registry import RegisteredModel


@dataclass(frozen=True)
class Job:
    """What is trained, how, and on what.

    Parameters
    ----------
    of : RegisteredModel
        What becomes of it.
    task : str
        As in params.yaml: action, of its action_models and train_action; empty, of its models and train.
    name : str
        The network's key there.
    model, params
        Its section, and that of the training with the network's own steps and seed.
    data_sha256 : str
        Digest of all that the samples come from: with others, checkpoints are of no use.
    data : mapping of str to list of Path
        Files and folders that DVC knows of it, by what to call them in a tag.
    samples : DataFrame
        Column ``store`` with the rest; the run's dataset.
    others : mapping
        What else shapes the network, as the run's parameters have it.
    """

    of: RegisteredModel
    task: str
    name: str
    model: Switched
    params: Fit
    data_sha256: str
    data: Mapping[str, list[Path]]
    samples: pd.DataFrame
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, str]:
        """The network's and the training's in params.yaml."""
        if not self.task:
            return f"models.{self.name}", "train"
        return f"{self.task}_models.{self.name}", f"train_{self.task}"

    @property
    def settings(self) -> dict[str, Any]:
        """What it is compared with others by, sections of params.yaml; with the same an interrupted one goes on."""
        of_model = self.model.model_dump(exclude={"steps", "seed"})  # the training's section has them
        return {"model": of_model, self.keys[1]: self.params.model_dump(), **self.others}

    @property
    def checkpoints(self) -> Path:
        """Folder of its checkpoints."""
        return checkpoint_folder("-".join(filter(None, (self.task, self.name))), self.settings, self.data_sha256)

    @property
    def tags(self) -> dict[str, str]:
        """What its run is found by."""
        md5 = {f"dvc_md5.{what}": " ".join(map(dvc_md5, paths)) for what, paths in self.data.items()}
        return {"cell": self.model.cell, "switch": self.model.switch.describe(), "data_sha256": self.data_sha256, **md5}
