"""The gradient of a network that recognises actions, layer by layer and frame by frame, beside the expected chains."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from torch import Tensor
from torch.nn.functional import nll_loss
from torch.utils.data import DataLoader

from pipelines.action.recognizer import load_recognizer, to_input
from pipelines.common.errors import UserError
from pipelines.params.action import ActionModel, TrainAction
from pipelines.params.training import Switch
from pipelines.training.gradient_norms import gradient_norms, name_of
from pipelines.video.clips import open_clips
from pipelines.video.samples import ClipSamples
from scs_model.networks.recognition import Recognizer
from scs_model.stsgd.chains import log_chains_by_place
from scs_model.stsgd.switch import draw_open_paths


def action_gradients(
    model: ActionModel,
    params: TrainAction,
    store: Path,
    switches: Sequence[Switch],
    *,
    trained: Path | None = None,
    draws: int = 16,
) -> pd.DataFrame:
    """Measure the gradient of the main loss at the last frame of a piece, in training mode, on one batch.

    Parameters
    ----------
    model, params
        Sections of params.yaml: the network before its training, and the batch.
    store : Path
        Clips.
    switches : sequence of Switch
        Without ``adaptive``, whose p is of a training.
    trained : Path, optional
        Folder of a network to measure besides; it has the model's depth.
    draws : int
        Whose norms' mean it is.

    Returns
    -------
    DataFrame
        What `pipelines.training.gradient_norms.write_gradients` takes.

    Raises
    ------
    UserError
        If the network has nothing to switch, or the trained one is another.
    """
    if model.cell != "scs":
        raise UserError(f"only the cell scs has paths to switch; this network is of {model.cell}")
    clips = open_clips(store)
    pl.seed_everything(params.seed, workers=True, verbose=False)
    networks = {"norm, untrained": Recognizer(**model.network, classes=len(clips.classes))}
    if trained is not None:
        network = networks["norm, trained"] = load_recognizer(trained).network
        if network.switch_layers != model.depth or network.classifier.out_features != len(clips.classes):
            raise UserError(f"{trained}: not a network of {model.depth} SCS layers and {len(clips.classes)} classes")
    samples = ClipSamples(clips, "train", params.piece, params.size, flow=False, seed=params.seed)
    frames, labels = next(iter(DataLoader(samples, params.batch_size, shuffle=True)))
    x = to_input(frames).transpose(0, 1).requires_grad_()
    lines = [1] * (model.depth % 2 == 0) + [2] * ((model.depth - 1) // 2)  # of the Recognizer, from the top down
    parts = []
    for switch in switches:
        chains = log_chains_by_place(model.depth, len(x), switch.kind, switch.p, lines=lines)
        parts.append(_rows("expected chains", switch, chains.flip(0, 1).numpy() / math.log(10)))
        for name, network in networks.items():
            network.train()

            def loss(open_paths: Tensor | None, network: Recognizer = network) -> Tensor:
                return nll_loss(network(x, open_paths=open_paths)[0][-1], labels)

            norms = gradient_norms(list(network.layers), loss, _draws(switch, model.depth, len(x), params.seed, draws))
            with np.errstate(divide="ignore"):  # no way leads there
                parts.append(_rows(name, switch, np.log10(norms)))
    return pd.concat(parts)


def _draws(switch: Switch, layers: int, steps: int, seed: int, count: int) -> Iterator[Tensor | None]:
    if switch.kind == "off":
        return iter([None])
    return (
        draw_open_paths(switch.kind, switch.p, seed=seed, step=step, rank=0, layers=layers, steps=steps)
        for step in range(count)
    )


def _rows(quantity: str, switch: Switch, log10: np.ndarray) -> pd.DataFrame:
    layer, frame = np.indices(log10.shape) + 1
    columns = {"quantity": quantity, "switch": name_of(switch)}
    return pd.DataFrame(columns | {"layer": layer.ravel(), "frame": frame.ravel(), "log10": log10.ravel()})
