"""Commands of ``scs``: archives from elsewhere."""

from pathlib import Path
from typing import Annotated

import typer


def fetch(
    name: Annotated[str, typer.Argument(help="a key of params.yaml's section fetch, or a preset")],
    start: Annotated[str | None, typer.Option("--from", help="first time, UTC: 2024-06-01 or 2024-06-01T12:30")] = None,
    end: Annotated[str | None, typer.Option("--to", help="up to this time, UTC, but without it")] = None,
    out: Annotated[Path | None, typer.Option(help="folder to fill; data/raw/NAME else")] = None,
) -> None:
    """Fill a folder with the files of an archive elsewhere; again, only what isn't there.

    The key that a provider wants is the environment's SCS_AUTHORIZATION_NAME, for S3 that of AWS's variables.
    """
    from pipelines.fetch.terminal import fetch_archive

    fetch_archive(name, start, end, out or Path("data/raw") / name)
