"""Stage ``train_action``: train one network that recognises actions; goes on from its last checkpoint."""

import hashlib
from pathlib import Path
from typing import Annotated

import pytorch_lightning as pl
import typer
from torch import Tensor

from pipelines.action.lightning_module import ActionTraining
from pipelines.action.recognizer import Network, RecognizerDescription
from pipelines.action.specification import ACTION
from pipelines.common.errors import UserError
from pipelines.common.stage import run
from pipelines.params.action import ActionModel, TrainAction
from pipelines.params.read import entry, read_params
from pipelines.training.fit import fit
from pipelines.training.job import Job
from pipelines.training.loaders import loaders
from pipelines.training.pass_sampler import PassSampler
from pipelines.video.clips import Clips, open_clips
from pipelines.video.samples import ClipSamples
from scs_model.networks.recognition import Recognizer


def clips_digest(clips: Clips) -> str:
    """Return the hex digest of what a store's clips are: their content, labels and splits, and how they were stored."""
    content = clips.table[["sha256", "label_name", "split", "frames", "height", "width", "fps"]].to_csv(index=False)
    return hashlib.sha256(content.encode()).hexdigest()


def train_action(
    name: str, store: Path, folder: Path, metrics: Path, *, model: ActionModel, params: TrainAction
) -> None:
    """Train ``model`` and write it to ``folder``: ``model.json`` and ``weights.safetensors``.

    Parameters
    ----------
    name : str
        Of the model, in tables and in MLflow.
    store : Path
        Clips.
    folder : Path
        Where the model goes.
    metrics : Path
        JSON of the validation loss and the number of parameters.
    model, params
        Sections of params.yaml.

    Raises
    ------
    UserError
        If the loss isn't finite, or the store has nothing to train on.
    """
    params = params.of(model)
    clips = open_clips(store)
    if len(clips.classes) < 2:
        raise UserError(f"{store}: {clips.classes[0]} is its only class, and there are two or more to tell apart")
    job = Job(
        *(ACTION, "action", name, model, params, clips_digest(clips)),
        data={"clips": [store]},
        samples=clips.table.assign(store=str(store)),
    )
    pl.seed_everything(params.seed, workers=True, verbose=False)
    module = ActionTraining(Recognizer(**model.network, classes=len(clips.classes)), model, params)
    has_flow = model.subtasks is not None
    samples = ClipSamples(clips, "train", params.frames, params.size, flow=has_flow, seed=params.seed)
    sampler = PassSampler(samples, params.epoch_steps * params.batch_size)
    seen = ClipSamples(clips, "validation", params.frames, params.size, flow=False, seed=params.seed)

    def describe(weights: dict[str, Tensor]) -> tuple[RecognizerDescription, dict[str, Tensor], int]:
        description = RecognizerDescription(
            method="recognizer",
            name=name,
            network=Network(**model.network),
            classes=clips.classes,
            size=params.size,
            short_side=clips.attributes["short_side"],
            rate=clips.attributes["rate"],
            piece=params.piece,
        )
        return description, weights, sum(p.numel() for p in module.network.parameters())

    batches = loaders(samples, sampler, seen, params)
    fit(job, module, *batches, describe=describe, folder=folder, metrics=metrics)


def main(
    name: Annotated[str, typer.Argument(help="a key of params.yaml's section action_models")],
    store: Path,
    folder: Path,
    metrics: Path,
) -> None:
    """Train the model NAME of params.yaml on STORE's clips into FOLDER."""
    params = read_params()
    model = entry(params.action_models, "action_models", name)
    train_action(name, store, folder, metrics, model=model, params=params.train_action)


if __name__ == "__main__":
    run(main)
