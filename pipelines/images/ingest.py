"""Stage ``ingest_images``: a folder of annotated images in any known layout into one store of crops.

Images are decoded in worker processes, side by side; what can't become a crop goes into a quarantine table with the
reason. What was decoded is kept in a hidden folder beside the store (outcomes, compressed crops): a run that was killed
goes on from there, a later one decodes new images alone, and the store is the same bytes however many runs made it.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd

from pipelines.common.errors import UserError
from pipelines.common.executor import LOCAL, Executor, open_executor
from pipelines.common.files import as_text, atomic_path, exclusive
from pipelines.common.ingest_cache import IngestCache
from pipelines.common.limits import Limits
from pipelines.common.outcomes import Task, find_outcomes
from pipelines.common.provenance import code_sha256, find_source, fingerprint
from pipelines.common.quarantine import print_rejected, write_quarantine
from pipelines.common.shard_file import compressed_chunks, is_whole
from pipelines.common.splits import draw_splits, parted_groups
from pipelines.common.stage import run
from pipelines.common.text import printable
from pipelines.images.crop_box import MARGIN
from pipelines.images.crops import assemble
from pipelines.images.decode import Decoded, decode_image
from pipelines.images.layouts import AnnotatedImage, Listing, list_images
from pipelines.params.images import IngestImages
from pipelines.params.read import read_params

# What is kept from one run to the next was made by these.
LIBRARIES = ("numcodecs", "numpy", "pillow", "shapely")
DECODING = ("pipelines.images.decode", "pipelines.common.ingest_cache")

Cut = list[tuple[AnnotatedImage, Decoded]]


def ingest_images(source: Path, store: Path, quarantine: Path, params: IngestImages, executor: Executor = LOCAL) -> int:
    """Write the objects of the images below ``source`` to ``store``; return the rows of the quarantine table.

    Parameters
    ----------
    source : Path
        Folder; see `pipelines.images.layouts`.
    store : Path
        Zarr store, written whole or not at all; the same bytes for the same files. See `pipelines.images.crops`.
    quarantine : Path
        CSV with columns ``file`` (below ``source``; with ``#`` and the object's number) and ``reason``.
    executor : Executor
        Decodes.

    Raises
    ------
    UserError
        If there is no object that can become a crop, or another run is at work on the store.
    """
    listing = list_images(source)
    work = store.with_name(f".{store.name}.ingest")
    made_by = code_sha256(*DECODING, libraries=LIBRARIES) + str(params.min_side)
    found = IngestCache(work, made_by, vars, Decoded.from_json)
    with exclusive(work / ".lock", wait_s=1.0), closing(found) as cache:
        folder = work / "crops"
        folder.mkdir(exist_ok=True)
        outcomes = find_outcomes(
            [_task(image, params.min_side, folder) for image in listing.images],
            decode_image,
            cache,
            lambda decoded: not decoded.crops or is_whole(folder / decoded.key, len(decoded.crops)),
            Limits(params.max_memory_mb),
            "images: objects",
            lambda decoded: len(decoded.crops),
            executor,
        )
        cut: Cut = []
        rejected = dict(listing.rejected)
        seen: set[str] = set()
        for image, outcome in zip(listing.images, outcomes, strict=True):
            name = as_text(image.path.relative_to(source).as_posix())
            if isinstance(outcome, str):
                rejected[name] = outcome
            elif outcome.sha256 in seen:  # a copy in another split would make both worthless
                listing.repeated += 1
            else:
                if outcome.crops:
                    seen.add(outcome.sha256)
                rejected |= {f"{name}#{number}": reason for number, reason in outcome.rejected.items()}
                cut.append((image, outcome))
        write_quarantine(rejected, quarantine)
        if not any(decoded.crops for _, decoded in cut):
            name, reason = min(rejected.items(), default=(str(source), "no object in its annotations"))
            raise UserError(
                f"{source}: none of its {len(listing.images)} images has an object of use; {name}: {reason}"
            )
        table = _table(cut, source)
        classes = sorted(set(table["class_name"]))
        table["label"] = table["class_name"].map(classes.index)
        # A city has all classes: which of them it has most of says nothing.
        stratum = table["label"] * (listing.layout != "cityscapes")
        table["split"] = draw_splits(
            table.assign(label=stratum),
            validation_share=params.validation_share,
            test_share=params.test_share,
            seed=params.seed,
        )
        polygons = [crop.vertices for _, decoded in cut for crop in decoded.crops]
        about = {"layout": listing.layout, "margin": MARGIN, "min_side": params.min_side, "license": params.license}
        with atomic_path(store) as temporary:
            assemble(table, polygons, _compressed(cut, folder), classes, about, temporary)
        cache.forget_others()
        wanted = {outcome.key for outcome in outcomes if isinstance(outcome, Decoded)}
        for path in folder.iterdir():
            if path.name not in wanted:
                path.unlink()
    print_rejected(rejected, quarantine)
    print(printable(_summary(table, listing, cut, len(rejected), quarantine)))
    return len(rejected)


def _task(image: AnnotatedImage, min_side: int, folder: Path) -> Task:
    annotation = image.annotation
    if isinstance(annotation, Path):
        annotation = annotation.absolute()
        part = fingerprint(annotation)
    else:
        part = hashlib.sha256(annotation.encode()).hexdigest()
    return Task(image.path, part, (image.path.absolute(), annotation, min_side, folder.absolute()))


def _compressed(cut: Cut, folder: Path) -> Iterator[bytes]:
    for _, decoded in cut:
        if decoded.crops:
            yield from compressed_chunks(folder / decoded.key, len(decoded.crops))


def _table(cut: Cut, source: Path) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": as_text(image.path.relative_to(source).as_posix()),
            "object": crop.object,
            "class_name": crop.class_name,
            "group": image.group,
            "split": image.split,
            **dict(zip(("x0", "y0", "x1", "y1"), crop.box, strict=True)),
            **dict(zip(("crop_x0", "crop_y0", "crop_side"), crop.square, strict=True)),
            "image_height": decoded.height,
            "image_width": decoded.width,
            "sha256": decoded.sha256,
            "object_sha256": crop.sha256,
        }
        for image, decoded in cut
        for crop in decoded.crops
    )


def _summary(table: pd.DataFrame, listing: Listing, cut: Cut, rejected: int, quarantine: Path) -> str:
    counts = table["split"].value_counts()
    parted = parted_groups(table)
    unseen = sorted(set(table["class_name"]) - set(table["class_name"][table["split"] == "train"]))
    empty = sum(not decoded.crops for _, decoded in cut)
    return (
        f"{len(table)} objects of {table['class_name'].nunique()} classes in {table['image'].nunique()} images,"
        f" {table['group'].nunique()} groups, layout {listing.layout}: "
        + ", ".join(f"{counts[name]} {name}" for name in ("train", "validation", "test") if name in counts)
        + (f"; {empty} images without an object" if empty else "")
        + (f"; {listing.repeated} images that come again skipped" if listing.repeated else "")
        + (f"; folders part {len(parted)} groups ({', '.join(parted[:3])}, …)" if parted else "")
        + (f"; nothing to train on of {', '.join(unseen)}" if unseen else "")
        + f"; {rejected} in quarantine"
        + (f": {quarantine}" if rejected else "")
    )


def main(store: Path, quarantine: Path) -> None:
    """Ingest the images of params.yaml's ingest_images.source into STORE; what can't be read is in QUARANTINE."""
    params = read_params()
    source = find_source(params.ingest_images.source)
    with open_executor(**params.executor.model_dump()) as executor:
        ingest_images(source, store, quarantine, params.ingest_images, executor)


if __name__ == "__main__":
    run(main)
