"""Commands of ``scs``: radar files into a store, a look at it, and out of it again."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.limits import Limits


def ingest(
    source: Annotated[Path, typer.Argument(help="folder of radar files, searched with its subfolders")],
    store: Annotated[Path, typer.Argument(help="Zarr store to write, NAME.zarr; its tables lie beside it")],
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first bad file")] = False,
) -> None:
    """Write the radar files of SOURCE into STORE, as params.yaml's ingest_radar says.

    Exit status 0 if all are in; 10 and as many more as are in quarantine (110 for a hundred and more).
    """
    from pipelines.common.executor import open_executor
    from pipelines.params.read import params_by_hand
    from pipelines.radar.ingest import QUARANTINE_STATUS, ingest_radar
    from pipelines.radar.quality_table import tables_of

    params = params_by_hand()
    with open_executor(**params.executor.model_dump()) as executor:
        bad = ingest_radar(source, store, *tables_of(store), params.ingest_radar, strict=strict, executor=executor)
    if bad:
        raise typer.Exit(QUARANTINE_STATUS + min(bad, 100))


def inspect(
    store: Annotated[Path, typer.Argument(help="Zarr store of frames")],
    html: Annotated[Path | None, typer.Option(help="page to write; else NAME.html beside the store")] = None,
) -> None:
    """Show what is in STORE, as text and as one HTML page with pictures: look at it before training."""
    from pipelines.params.read import params_if_any
    from pipelines.radar.inspection import inspect_store

    limits = params.ingest_radar.limits if (params := params_if_any()) else Limits()
    print(inspect_store(store, html or store.with_suffix(".html"), limits))


def export(
    store: Annotated[Path, typer.Argument(help="Zarr store of frames")],
    out: Annotated[Path, typer.Argument(help="netCDF file to write; with --zarr a store, NAME.zarr")],
    zarr: Annotated[bool, typer.Option("--zarr", help="Zarr of version 2, a chunk a frame")] = False,
    regular: Annotated[bool, typer.Option("--regular", help="missing frames too, of unknown pixels")] = False,
) -> None:
    """Write the frames of STORE to OUT for other tools: CF netCDF, or Zarr."""
    from pipelines.params.read import params_if_any
    from pipelines.radar.export import export_store

    limits = params.ingest_radar.limits if (params := params_if_any()) else Limits()
    print(export_store(store, out, as_zarr=zarr, regular=regular, limits=limits))
