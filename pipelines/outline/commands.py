"""Commands of ``scs``: polygons of objects."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from pipelines.common.errors import UserError
from pipelines.common.limits import Limits
from pipelines.common.text import printable


def annotate(
    source: Annotated[Path, typer.Argument(help="image, or a folder of images that --boxes names")],
    box: Annotated[list[str], typer.Option(help="x0,y0,x1,y1 in pixels; may be given several times")] = [],  # noqa: B006
    boxes: Annotated[
        Path | None, typer.Option(help="CSV of x0,y0,x1,y1, and image and class where they differ")
    ] = None,
    fix: Annotated[list[str], typer.Option(help="i,x,y: where vertex i is; those after it follow")] = [],  # noqa: B006
    class_name: Annotated[str, typer.Option("--class", help="of what is in the boxes")] = "",
    layout: Annotated[str, typer.Option("--format", help="labelme, coco or geojson")] = "labelme",
    beam: Annotated[int, typer.Option(min=1, max=64, help="polygons that the search keeps")] = 1,
    out: Annotated[Path, typer.Option(help="folder for annotations and pictures of them")] = Path("data/annotations"),
    model: Annotated[
        str, typer.Option(help="MLflow URI of a registered model, or a folder")
    ] = "models:/outline-annotation@champion",
) -> None:
    """Outline the objects in boxes of SOURCE: a polygon each, in the image's pixels, and a picture of it."""
    if not source.exists():
        raise UserError(f"{source}: no such file")
    if layout not in ("labelme", "coco", "geojson"):
        raise UserError(f"--format {layout}: labelme, coco or geojson is wanted")
    from pipelines.outline import registered_model as outline
    from pipelines.params.read import params_if_any

    if box and source.is_dir():
        raise UserError("--box is of one image: name boxes of a folder's images by --boxes")
    asked = [
        outline.Asked(source.name, outline.parse_numbers(text, "--box", "x0,y0,x1,y1"), class_name) for text in box
    ]
    asked += outline.read_boxes(boxes, source, class_name) if boxes else []
    limits = Limits(params.ingest_images.max_memory_mb) if (params := params_if_any()) else Limits()
    fixes = outline.parse_fixes(fix)
    images, files, by = outline.annotate(
        source, asked, out, uri=model, layout=cast(Any, layout), fixes=fixes, beam=beam, limits=limits
    )
    print(printable(f"{sum(len(image.objects) for image in images)} objects in {len(images)} images, by {by}"))
    print(*files, sep="\n")
