"""Commands of ``scs``: back-propagation chains."""

from pathlib import Path
from typing import Annotated

import typer


def chains(
    layers: Annotated[str, typer.Option(help="numbers of layers: 1..17, or 2,5,10")] = "1..17",
    steps: Annotated[str, typer.Option(help="numbers of time steps, likewise")] = "1..20",
    p: Annotated[str, typer.Option(help="stop probabilities of the temporal path")] = "0,0.25,0.5,0.75,1",
    one_sided: Annotated[bool, typer.Option("--one-sided", help="the one-sided switch, not the two-sided")] = False,
    out: Annotated[Path, typer.Option(help="folder to write chains.csv and chains.png into")] = Path("data/chains"),
) -> None:
    """Tabulate and draw the back-propagation chains that STSGD leaves (the paper's Fig. 4)."""
    from pipelines.training.gradient_chains import parse_probabilities, parse_range, write_chains

    files = out / "chains.csv", out / "chains.png"
    kind = "one_sided" if one_sided else "two_sided"
    write_chains(parse_range(layers), parse_range(steps), parse_probabilities(p), kind, *files)
    print(*files, sep="\n")
