"""Stage ``train_outline``: train one network that outlines objects; goes on from its last checkpoint."""

import hashlib
from pathlib import Path
from typing import Annotated

import pandas as pd
import pytorch_lightning as pl
import torch
import typer
from torch import Tensor

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import atomic_path
from pipelines.common.provenance import sha256
from pipelines.common.stage import run
from pipelines.images.crops import open_crops
from pipelines.outline.annotator import Network, OutlineDescription
from pipelines.outline.lightning_module import OutlineTraining
from pipelines.outline.samples import OutlineSamples, collate
from pipelines.outline.specification import OUTLINE
from pipelines.params.outline import OutlineModel, TrainOutline
from pipelines.params.read import entry, read_params
from pipelines.training.ddp import is_rank_zero
from pipelines.training.fit import fit
from pipelines.training.job import Job
from pipelines.training.loaders import loaders
from pipelines.training.pass_sampler import PassSampler
from scs_model.networks.outline import OutlineNetwork


def load_encoder(network: OutlineNetwork, file: Path, key: str) -> None:
    """Load a ResNet's weights under torchvision's names into a network's encoder; the classifier's are left out.

    Raises
    ------
    UserError
        If they can't be read as weights alone, or are of another ResNet than the encoder; ``key`` is named.
    """
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        network.encoder.load_state_dict({name: w for name, w in weights.items() if not name.startswith("fc.")})
    # What torch raises on a file that is no state dict can't be listed.
    except Exception as error:
        raise UserError(f"{key}: {file}: {in_short(error)}") from None


def train_outline(
    name: str, store: Path, folder: Path, metrics: Path, curve: Path, *, model: OutlineModel, params: TrainOutline
) -> None:
    """Train ``model`` and write it to ``folder``: ``model.json`` and ``weights.safetensors``.

    Parameters
    ----------
    name : str
        Of the model, in tables and in MLflow.
    store : Path
        Crops.
    folder : Path
        Where the model goes.
    metrics : Path
        JSON of the validation loss and the number of parameters.
    curve : Path
        CSV of the losses at each validation.
    model, params
        Sections of params.yaml.

    Raises
    ------
    UserError
        If the loss isn't finite, or the store has nothing to train on.
    """
    crops = open_crops(store)
    params = params.of(model)
    data_sha256 = hashlib.sha256(crops.table[["object_sha256", "split"]].to_csv(index=False).encode()).hexdigest()

    pl.seed_everything(params.seed, workers=True, verbose=False)
    try:
        network = OutlineNetwork(**model.network)
    except (ValueError, RuntimeError, TypeError) as error:  # torch's of a number of more than 64 bits
        raise UserError(f"outline_models.{name}: no network can be built from it: {in_short(error)}") from None
    others = {}
    if model.encoder_weights:
        file = Path(model.encoder_weights)
        load_encoder(network, file, f"outline_models.{name}.encoder_weights")
        others["encoder"] = {"sha256": sha256(file)}
    job = Job(
        *(OUTLINE, "outline", name, model, params, data_sha256),
        data={"crops": [store]},
        samples=crops.table.assign(store=str(store)),
        others=others,
    )
    module = OutlineTraining(network, model, params)
    samples = OutlineSamples(crops, "train", params.max_vertices, seed=params.seed)
    seen = OutlineSamples(crops, "validation", params.max_vertices, seed=params.seed)
    sampler = PassSampler(samples, params.epoch_steps * params.batch_size)

    def describe(weights: dict[str, Tensor]) -> tuple[OutlineDescription, dict[str, Tensor], int]:
        shape = {**model.network, "subtasks": False}  # whose heads are of training alone
        kept = {key: weights[key] for key in OutlineNetwork(**shape).state_dict()}
        description = OutlineDescription(
            method="outline",
            name=name,
            network=Network(**shape),
            classes=sorted(crops.table.loc[samples.numbers, "class_name"].unique()),
            max_vertices=params.max_vertices,
        )
        return description, kept, sum(parameter.numel() for parameter in OutlineNetwork(**shape).parameters())

    batches = loaders(samples, sampler, seen, params, collate)
    fit(job, module, *batches, describe=describe, folder=folder, metrics=metrics)
    if is_rank_zero():
        with atomic_path(curve) as temporary:
            pd.DataFrame(module.curve).to_csv(temporary, index=False)


def main(
    name: Annotated[str, typer.Argument(help="a key of params.yaml's section outline_models")],
    store: Path,
    folder: Path,
    metrics: Path,
    curve: Path,
) -> None:
    """Train the model NAME of params.yaml on STORE's crops into FOLDER."""
    params = read_params()
    model = entry(params.outline_models, "outline_models", name)
    train_outline(name, store, folder, metrics, curve, model=model, params=params.train_outline)


if __name__ == "__main__":
    run(main)
