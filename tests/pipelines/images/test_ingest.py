"""The stage: each layout's own polygons in a store, the same bytes however many runs made it, a reason for the rest."""

import csv
import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import write_params
from image_files import SQUARE, coco, flat, ingest_params, labelme, write_cityscapes, write_json, write_picture
from PIL import Image, ImageDraw

import pipelines.common.workers
from pipelines.common.errors import UserError
from pipelines.common.provenance import sha256
from pipelines.images import ingest as stage
from pipelines.images.crops import open_crops
from pipelines.images.ingest import ingest_images

RLE = {"size": [40, 60], "counts": "0"}
RIGHT = [[40, 10], [55, 10], [55, 35], [40, 35]]


class Run:
    """A folder of annotated images, and what ingesting it gives."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.store, self.quarantine = folder / "raw", folder / "out" / "crops.zarr", folder / "out" / "q.csv"

    def __call__(self, **changes) -> dict[str, str]:
        count = ingest_images(self.raw, self.store, self.quarantine, ingest_params(**changes))
        with self.quarantine.open(newline="") as stream:
            reasons = {row["file"]: row["reason"] for row in csv.DictReader(stream)}
        assert len(reasons) == count
        return reasons

    @property
    def crops(self):
        return open_crops(self.store)

    @property
    def bytes(self) -> tuple[str, bytes]:
        return sha256(self.store), self.quarantine.read_bytes()


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path)


def in_image(crops, i: int) -> set[tuple[float, float]]:
    """The vertices of an object, in pixels of its image."""
    return {tuple(point) for point in crops.crop_box(i).to_image(crops.polygon(i)).round(3)}


def corners(points) -> set[tuple[float, float]]:
    return {tuple(map(float, point)) for point in points}


def test_coco(run):
    names = ["train/a.jpg", "train/b.jpg"]
    for number, name in enumerate(names):
        write_picture(run.raw / name, number)
    annotations = [{}, {"image_id": 1, "category_id": 2, "segmentation": [flat(RIGHT)], "bbox": [39, 9, 17, 27]}]
    write_json(run.raw / "train" / "_annotations.coco.json", coco(["a.jpg", "b.jpg"], annotations))
    assert run() == {}
    crops = run.crops
    table = crops.table
    assert table["image"].tolist() == names
    assert crops.classes == ["cat", "dog"]
    assert table["class_name"].tolist() == [crops.classes[label] for label in table["label"]] == ["cat", "dog"]
    assert table["object"].tolist() == [100, 101]
    assert (in_image(crops, 0), in_image(crops, 1)) == (corners(SQUARE), corners(RIGHT))
    assert table.loc[1, ["x0", "y0", "x1", "y1"]].tolist() == [39, 9, 56, 36], "the annotated box, not the polygon's"
    assert table["sha256"].tolist() == [hashlib.sha256((run.raw / name).read_bytes()).hexdigest() for name in names]
    assert table["object_sha256"].nunique() == 2
    assert crops.attributes == {
        "layout": "coco",
        "margin": 0.15,
        "min_side": 8,
        "license": "LicenseRef-scancode-unknown",
    }
    with Image.open(run.raw / names[1]) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert (crops.image(1) == crops.crop_box(1).cut(pixels)).all()


def test_coco_as_it_is_published(run):
    """Images of two years' splits in folders, annotations in another, keypoints of the same images beside them."""
    for number, name in enumerate(["train2017/1.jpg", "train2017/2.jpg", "val2017/1.jpg"]):
        write_picture(run.raw / name, number)
    for kind in ("instances", "person_keypoints"):
        write_json(run.raw / f"annotations/{kind}_train2017.json", coco(["1.jpg", "2.jpg"], [{}, {"image_id": 1}]))
        write_json(run.raw / f"annotations/{kind}_val2017.json", coco(["1.jpg"], [{}]))
    write_json(run.raw / "annotations/captions_val2017.json", {"images": [], "annotations": [{"caption": "a cat"}]})
    assert list(run()) == ["annotations/captions_val2017.json"]
    splits = dict(zip(run.crops.table["image"], run.crops.table["split"], strict=True))
    # The one list beside train is the test, and validation is drawn from train.
    assert splits["val2017/1.jpg"] == "test"
    assert {splits["train2017/1.jpg"], splits["train2017/2.jpg"]} == {"train", "validation"}


def test_images_of_one_name_are_told_apart_by_folder_and_split(run):
    """Frames of all sequences have the same names, and those of some sequences aren't there."""
    for number, name in enumerate(["images/seq2/f.png", "val/1.png"]):
        write_picture(run.raw / name, number)
    names = ["seq1/f.png", "seq2\\f.png"]
    write_json(run.raw / "all.json", coco(names, [{}, {"image_id": 1, "category_id": 2}]))
    write_json(run.raw / "lists/train.json", coco(["C:\\data\\val\\1.png", "../val/2.png"], [{}]))
    write_json(run.raw / "lists/val.json", coco(["/home/data/1.png"], [{"category_id": 2}]))
    missing = "missing: it is in lists/train.json, and there is no such file in train"
    assert run() == {
        "seq1/f.png": "missing: it is in all.json, and there is no such file",
        "../val/2.png": missing,
        "C:\\data\\val\\1.png": missing,
    }
    assert run.crops.table["image"].tolist() == ["images/seq2/f.png", "val/1.png"]
    assert set(run.crops.table["class_name"]) == {"dog"}


def test_objects_of_no_use(run):
    write_picture(run.raw / "a.png", 1)
    bow = [[10, 10], [30, 30], [30, 10], [10, 30]]
    broken = {
        "a crowd, not one object": {"iscrowd": 1, "segmentation": RLE},
        "a run-length mask, no polygon": {"segmentation": RLE},
        "no polygon": {"segmentation": []},
        "an odd number of coordinates": {"segmentation": [[1, 2, 3, 4, 5]]},
        "2 vertices, and a polygon has at least 3": {"segmentation": [[1, 2, 3, 4]]},
        "it crosses itself, and its largest part has 50% of it": {"segmentation": [flat(bow)]},
        "outside the image": {"segmentation": [flat([[70, 1], [90, 1], [90, 20]])], "bbox": None},
        "box 70,10,90,30: outside the image, which has 60 × 40 pixels": {"bbox": [70, 10, 20, 20]},
        "box 10,10,10,10: x0,y0,x1,y1 with x0 < x1 and y0 < y1 are wanted": {"bbox": [10, 10, 0, 0]},
        "its box 10,10,40,40 isn't its polygon's": {"bbox": [10, 10, 30, 30]},
        "3.0 × 4.0 pixels, and min_side is 8": {"segmentation": [[1, 1, 4, 1, 4, 5]], "bbox": None},
    }
    write_json(run.raw / "x.json", coco(["a.png"], [*broken.values(), {}]))
    assert run() == {f"a.png#{100 + i}": reason for i, reason in enumerate(broken)}
    assert run.crops.table["object"].tolist() == [100 + len(broken)]


@pytest.mark.parametrize(
    ("ids", "numbers"), [((7, 8, 9), (7, 8, 9)), ((7, 7, 7), (0, 1, 2)), ((2, 1, None), (0, 1, 2))]
)
def test_each_object_has_a_number_of_its_own(run, ids, numbers):
    """Else parts of one and objects of one number are alike, and only the last one's reason is told."""
    write_picture(run.raw / "a.png", 1)
    broken = [{}, {"segmentation": [5]}, {"segmentation": RLE}]
    write_json(run.raw / "x.json", coco(["a.png"], [one | {"id": i} for one, i in zip(broken, ids, strict=True)]))
    assert run() == {
        f"a.png#{numbers[1]}": "its annotation isn't as its layout has it",
        f"a.png#{numbers[2]}": "a run-length mask, no polygon",
    }
    assert run.crops.table["object"].tolist() == [numbers[0]]


def test_several_parts_are_crops_each(run):
    write_picture(run.raw / "a.png", 1)
    tiny = [[1, 1], [4, 1], [4, 4], [1, 4]]
    write_json(
        run.raw / "x.json",
        coco(
            ["a.png"], [{"segmentation": [[], flat(SQUARE), flat(RIGHT), flat(tiny), [1, 1, 2, 2], [1, 1, 2, 2, 3, 3]]}]
        ),
    )
    assert run() == {}
    crops = run.crops
    assert crops.table["object"].tolist() == [100, 100]
    assert in_image(crops, 0) == corners(SQUARE)
    assert in_image(crops, 1) == corners(RIGHT)
    assert crops.table.loc[1, ["x0", "y0", "x1", "y1"]].tolist() == [40, 10, 55, 35], "a part's box is its own"


def test_cityscapes(run):
    ground = [[0, 0], [60, 0], [60, 40], [0, 40]]
    front = [[20, 5], [25, 5], [25, 35], [20, 35]]
    for city in ("bonn", "ulm", "jena"):
        for number in range(2):
            objects = [("road", ground), ("car", SQUARE), ("pole", front), ("cargroup", RIGHT)]
            write_cityscapes(run.raw, "train", city, number, objects)
    write_cityscapes(run.raw, "val", "lindau", 0, [("person", RIGHT), ("rider", SQUARE)])
    (run.raw / "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png").unlink()
    write_picture(run.raw / "leftImg8bit/train/ulm/stray_leftImg8bit.png", 77)
    reasons = run()
    missing = "gtFine/train/ulm/ulm_000001_000019_gtFine_polygons.json"
    image = "leftImg8bit/train/ulm/ulm_000001_000019_leftImg8bit.png"
    assert reasons.pop(missing) == f"missing: its image {image}"
    assert reasons.pop("leftImg8bit/train/ulm/stray_leftImg8bit.png") == "in no annotation"
    assert len(reasons) == 5
    assert set(reasons.values()) == {"a crowd, not one object"}
    table = run.crops.table
    assert set(table["class_name"]) == {"car", "person", "rider"}
    assert set(table["split"][table["group"] == "lindau"]) == {"test"}
    assert table.groupby("group")["split"].nunique().max() == 1
    assert (table["split"] == "validation").any()
    # The pole parts each car: 10 and 5 of its 20 columns are left.
    cars = table[table["class_name"] == "car"]
    assert (cars["x1"] - cars["x0"]).tolist() == [10, 5] * 5


@pytest.mark.parametrize("folder", ["", "gtFine", "gtFine/train"])
def test_cities_without_folders(run, folder):
    """Names have them, too; with one group alone there would be nothing to judge a network by."""
    objects = {"imgHeight": 40, "imgWidth": 60, "objects": [{"label": "car", "polygon": SQUARE}]}
    for number, name in enumerate(["ulm_000000_000019", "ulm_000001_000019", "new_york_000000_000019", "img_7"]):
        write_json(run.raw / folder / f"{name}_gtFine_polygons.json", objects)
        write_picture(run.raw / folder.replace("gtFine", "leftImg8bit") / f"{name}_leftImg8bit.png", number)
    assert run() == {}
    table = run.crops.table
    assert table["group"].tolist() == ["img_7", "new_york", "ulm", "ulm"]
    assert set(table["split"]) == {"train", "validation", "test"}


def test_what_is_in_front_is_as_cityscapes_draws_it(run):
    """Its instance images are drawn object after object: what is left of each is its mask."""
    objects = [("car", [[5, 5], [45, 8], [40, 36], [8, 30]]), ("bus", [[30, 2], [50, 2], [35, 20]]), ("car", RIGHT)]
    write_cityscapes(run.raw, "train", "bonn", 0, objects)
    run()
    drawn = Image.new("L", (600, 400))
    for number, (_, polygon) in enumerate(objects):
        ImageDraw.Draw(drawn).polygon([(10 * x, 10 * y) for x, y in polygon], fill=number + 1)
    crops = run.crops
    for number in range(3):
        mask = Image.new("1", drawn.size)
        for i in crops.table.index[crops.table["object"] == number]:
            ImageDraw.Draw(mask).polygon([(10 * x, 10 * y) for x, y in sorted_as(crops, i)], fill=1)
        ours, theirs = np.asarray(mask), np.asarray(drawn) == number + 1
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97


def sorted_as(crops, i: int) -> list[list[float]]:
    return crops.crop_box(i).to_image(crops.polygon(i)).tolist()


def test_labelme(run):
    write_json(
        run.raw / "in.json", labelme([{}, {"label": "dog", "shape_type": "rectangle"}, {"label": ""}], "x.png", 3)
    )
    write_json(run.raw / "json" / "by.json", labelme([{"points": RIGHT, "label": " cat\n"}], "..\\images\\by.png"))
    write_picture(run.raw / "images" / "by.png", 4)
    write_json(run.raw / "beside.json", labelme([{"label": "é\ud800\n."}], "/home/somebody/beside.jpg"))
    write_picture(run.raw / "beside.jpg", 5)
    write_json(run.raw / "odd\udcff\n.json", labelme([{}], "", 6))
    write_json(run.raw / "gone.json", labelme([{}], "gone.png"))
    write_json(run.raw / "other.json", {"points": []})
    (run.raw / "cut.json").write_text('{"shapes": [')
    deep = run.raw / "deep.json"
    deep.write_text("[" * 100_000)
    reasons = run()
    assert reasons.pop("cut.json").startswith("Expecting value")
    assert "recursion" in reasons.pop("deep.json")
    assert reasons == {
        "in.json#1": "rectangle, no polygon",
        "in.json#2": "it has no class",
        "gone.json": "missing: its image gone.png",
        "other.json": "no annotation of labelme",
    }
    crops = run.crops
    assert crops.table["image"].tolist() == ["beside.jpg", "images/by.png", "in.json", "odd\\xff\n.json"]
    assert crops.classes == ["cat", "é\\ud800\\n."]
    assert in_image(crops, 1) == corners(RIGHT)
    assert crops.table.groupby("image")["split"].nunique().tolist() == [1, 1, 1, 1]


def test_a_picture_in_labelme_files_is_one_picture(run):
    """In the files of two, beside one of them, and in a file that names it: in one split, and all are known."""
    picture = write_picture(run.raw / "a.PNG", 1)
    write_json(run.raw / "a.json", labelme([{}], "a.PNG", 1))
    write_json(run.raw / "b.json", labelme([{"label": "dog"}], "gone.png", 1))
    write_json(run.raw / "c.json", labelme([{}], "D:\\photos\\a.PNG"))
    assert run() == {}
    table = run.crops.table
    assert table["image"].tolist() == ["a.PNG"]
    assert table["sha256"].tolist() == [hashlib.sha256(picture.read_bytes()).hexdigest()]
    (run.raw / "c.json").unlink()
    assert run() == {}
    assert run.crops.table["image"].tolist() == ["a.json"]
    assert run.crops.table["sha256"].tolist() == table["sha256"].tolist()


def test_a_copy_without_an_object_isn_t_the_one_that_counts(run):
    shutil.copy(write_picture(run.raw / "b.png", 1), run.raw / "a.png")
    write_json(run.raw / "x.json", coco(["a.png", "b.png"], [{"image_id": 1}]))
    run()
    assert run.crops.table["image"].tolist() == ["b.png"]


def test_images_of_no_use(run):
    good = write_picture(run.raw / "good.png", 1)
    content = good.read_bytes()
    (run.raw / "cut.png").write_bytes(content[: len(content) // 2])
    (run.raw / "empty.png").touch()
    Image.new("RGB", (50, 40)).save(run.raw / "other_size.png")
    (run.raw / "link.png").symlink_to("/etc/hostname")
    shutil.copy(good, run.raw / "same.png")
    (run.raw / "more").symlink_to("/etc")
    (run.raw / ".hidden.json").write_text("[")
    names = ["good.png", "cut.png", "empty.png", "other_size.png", "link.png", "same.png", "gone.png", "../good.png"]
    write_json(run.raw / "x.json", coco(names, [{"image_id": i} for i in range(len(names))]))
    reasons = run()
    assert "truncated" in reasons.pop("cut.png")
    assert reasons == {
        "empty.png": "empty",
        "other_size.png": "it has 50 × 40 pixels, and its annotation says 60 × 40",
        "link.png": "a link to /etc/hostname, out of its folder",
        "more": "a link to a folder",
        "gone.png": "missing: it is in x.json, and there is no such file",
    }
    assert run.crops.table["image"].tolist() == ["good.png"], "its copy would be in another split, perhaps"


def test_nothing_of_use(run):
    with pytest.raises(UserError, match="no such folder"):
        run()
    write_picture(run.raw / "a.png", 1)
    with pytest.raises(UserError, match="no annotations of Cityscapes, COCO or labelme"):
        run()
    write_json(run.raw / "x.json", coco(["a.png"], []))
    with pytest.raises(UserError, match="none of its 1 images has an object of use"):
        run()
    assert not run.store.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 1},
        {"images": [1]},
        {"images": [{"id": 0, "file_name": "a.png"}, {"id": 0, "file_name": "b.png"}]},
        {"categories": [{}]},
        {"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]},
        {"annotations": {"a": 1}},
        {"annotations": [[]]},
        {"annotations": [{"image_id": 0}]},
        {"annotations": [{"image_id": [], "category_id": 1}]},
    ],
)
def test_files_that_say_what_cant_be(run, wrong):
    write_picture(run.raw / "a.png", 1)
    write_json(run.raw / "good.json", coco(["a.png"], [{}]))
    write_json(run.raw / "wrong.json", coco(["a.png"], [{}]) | wrong)
    assert run()["wrong.json"].startswith("no COCO instances")


def test_objects_that_say_what_cant_be(run):
    """In one line each; none keeps the others from their turn."""
    write_picture(run.raw / "a.png", 1)
    values = [7, "x", {}, [[]], [None], [{}], [["a"] * 6], -1e308, 10**400, True]
    wrong = [{key: value} for key in ("segmentation", "bbox") for value in values] + [{"category_id": 9}]
    known = [*wrong, {"id": 10**400}, {"id": "x"}, {"id": True}, {}]
    write_json(run.raw / "x.json", coco(["a.png"], [*known, {"image_id": 7}]))
    reasons = run()
    assert reasons.pop("x.json") == "1 of its annotations are of images that aren't in it"
    assert len(reasons) == len(wrong)
    assert all(reason and "\n" not in reason for reason in reasons.values())
    # Of ids that are none of one object alone, none is taken: places are.
    assert run.crops.table["object"].tolist() == [len(wrong) + i for i in range(4)]


def test_grows_and_shrinks(run, monkeypatch):
    """Only what is new is decoded; the store is that of one run over all."""
    names = [f"{number}.png" for number in range(5)]
    for number, name in enumerate(names):
        write_picture(run.raw / name, number)
    annotations = [{"image_id": number} for number in range(5)]
    table = write_json(run.raw / "x.json", coco(names, annotations))
    run()
    first = run.bytes
    write_json(table, coco(names[:3], annotations[:3]))
    assert set(run()) == {"3.png", "4.png"}
    decoded = []
    workers = pipelines.common.workers.decoders

    class Watched:
        def __init__(self, limits, most):
            self.real = workers(limits, most)

        def map(self, function, tasks):
            decoded.extend(task[0].name for task in tasks)
            return self.real.map(function, tasks)

    monkeypatch.setattr(pipelines.common.workers, "decoders", Watched)
    write_json(table, coco(names, annotations))
    run()
    assert decoded == names[3:]
    assert run.bytes == first
    shutil.copy(run.raw / names[0], run.raw / "copy.png")
    for _ in range(2):
        write_json(table, coco([*names, "copy.png"], [*annotations, {"image_id": 5}]))
        run()
    assert decoded.pop() == "copy.png"
    assert decoded == names[3:], "what comes again isn't decoded again"
    write_json(table, coco(names, annotations))
    (run.raw / "copy.png").unlink()
    run(seed=7, test_share=0.3)  # other splits need no decoding
    assert len(decoded) == 2
    changed = [annotation | {"segmentation": [flat(RIGHT)], "bbox": None} for annotation in annotations[:1]]
    write_json(table, coco(names, changed + annotations[1:]))
    run()
    assert decoded[2:] == names[:1], "its annotation is another"
    assert in_image(run.crops, 0) == corners(RIGHT)
    folder = run.store.parent / ".crops.zarr.ingest"
    assert len(list((folder / "crops").iterdir())) == 5, "those of the store, and no others"
    torn = next((folder / "crops").iterdir())
    torn.write_bytes(torn.read_bytes()[:-9])
    run()
    assert len(decoded) == 4, "what a power cut has torn is made again"
    shutil.rmtree(run.store.parent)
    write_json(table, coco(names, annotations))
    run()
    assert run.bytes == first


def test_killed_in_the_middle(run, monkeypatch):
    """It goes on from there: what was found out is in the table as soon as it is."""
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        write_picture(run.raw / name, number)
    write_json(run.raw / "x.json", coco(names, [{"image_id": number} for number in range(4)]))
    put, count = stage.IngestCache.put, 0

    def twice(*arguments):
        nonlocal count
        count += 1
        if count > 2:
            raise KeyboardInterrupt
        put(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(stage.IngestCache, "put", twice)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert not run.store.exists()
    with closing(sqlite3.connect(run.store.parent / ".crops.zarr.ingest" / "found.sqlite")) as found:
        assert found.execute("SELECT count(*) FROM found").fetchone()[0] == 2
    run()
    resumed = run.bytes
    shutil.rmtree(run.store.parent)
    run()
    assert run.bytes == resumed


def test_roboflow_s_copies_of_an_image_are_in_one_split(run):
    names = [f"cat{image}_jpg.rf.{copy:032x}.jpg" for image in range(4) for copy in range(3)]
    for number, name in enumerate(names):
        write_picture(run.raw / name, number)
    write_json(run.raw / "x.json", coco(names, [{"image_id": number} for number in range(12)]))
    run()
    table = run.crops.table
    assert table["group"].value_counts().to_dict() == {f"cat{image}_jpg": 3 for image in range(4)}
    assert table.groupby("group")["split"].nunique().max() == 1


def test_stage(run, tmp_path, monkeypatch):
    """As DVC calls it, with params.yaml's section."""
    write_picture(run.raw / "a.png", 1)
    write_json(run.raw / "x.json", coco(["a.png"], [{}]))
    write_params(tmp_path, {"simulated": {}})
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("source: data/raw/images", f"source: {run.raw}"))
    monkeypatch.chdir(tmp_path)
    stage.main(Path("crops.zarr"), Path("quarantine.csv"))
    assert json.loads(json.dumps(open_crops(tmp_path / "crops.zarr").classes)) == ["cat"]
