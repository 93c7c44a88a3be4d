"""Commands of ``scs``: what STSGD does to a gradient, and which action a clip shows."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.errors import UserError
from pipelines.common.limits import Limits
from pipelines.common.text import printable


def gradients(
    model: Annotated[str, typer.Argument(help="a key of params.yaml's section action_models")],
    trained: Annotated[Path | None, typer.Option(help="folder of that network, trained, to measure besides")] = None,
    store: Annotated[Path, typer.Option(help="Zarr store of clips")] = Path("data/video/clips.zarr"),
    p: Annotated[str, typer.Option(help="stop probabilities of the temporal path")] = "0.25,0.5,0.75",
    one_sided: Annotated[bool, typer.Option("--one-sided", help="the one-sided switch, not the two-sided")] = False,
    out: Annotated[Path, typer.Option(help="folder to write gradients.csv and gradients.png into")] = Path(
        "data/chains"
    ),
) -> None:
    """Measure the gradient of MODEL, with and without STSGD, beside the expected number of chains."""
    from pipelines.params.read import entry, read_params
    from pipelines.params.training import Switch
    from pipelines.training.gradient_chains import parse_probabilities

    ps, params = parse_probabilities(p), read_params()
    of_params = entry(params.action_models, "action_models", model)
    from pipelines.action.gradients import action_gradients
    from pipelines.training.gradient_norms import write_gradients

    files = out / "gradients.csv", out / "gradients.png"
    switches = [Switch(kind="off"), *(Switch(kind="one_sided" if one_sided else "two_sided", p=p) for p in ps)]
    write_gradients(action_gradients(of_params, params.train_action, store, switches, trained=trained), *files)
    print(*files, sep="\n")


def recognize(
    clip: Annotated[Path, typer.Argument(help="video file, of any length, or a folder of pictures")],
    model: Annotated[
        str, typer.Option(help="MLflow URI of a registered model, or a folder")
    ] = "models:/action-recognition@champion",
) -> None:
    """Print the five most probable actions of CLIP."""
    if not clip.exists():
        raise UserError(f"{clip}: no such file")
    from pipelines.action.registered_model import recognize as recognize_clip
    from pipelines.params.read import params_if_any

    limits = Limits(params.ingest_video.max_memory_mb) if (params := params_if_any()) else Limits()
    probabilities, name, version = recognize_clip(clip, model, limits)
    print(printable(f"{clip}: by {name}, version {version or 'none'}"))
    for label, probability in list(probabilities.items())[:5]:
        print(f"{probability:7.1%}  {printable(label)}")
