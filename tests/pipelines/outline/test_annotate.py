"""``scs annotate``: what it writes opens in others' readers, and what it refuses, it refuses in one line."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from outline_files import draw, write_outline_model
from PIL import Image
from pycocotools.coco import COCO
from shapely.geometry import Polygon, shape
from typer.testing import CliRunner

from pipelines import cli
from pipelines.common.errors import UserError
from pipelines.images.annotations import coco_annotations, read_annotation
from pipelines.outline.annotator import Annotator
from pipelines.outline.specification import OUTLINE

BOX = (20, 15, 90, 75)
TEXT = "20,15,90,75"


@pytest.fixture(scope="module")
def annotator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Annotator]:
    """A registered model, two images, and a working directory that has no params.yaml."""
    folder = tmp_path_factory.mktemp("annotate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        (folder / "dvc.yaml").touch()
        annotator = write_outline_model(Path("m"), seed=3)
        OUTLINE.set_alias("champion", OUTLINE.ensure_version("m", Path("m"), {"iou": 0.5}), "for a test")
        Path("images").mkdir()
        for name, kind in (("one.png", "square"), ("two.jpg", "ell")):
            Image.fromarray(draw(kind, BOX)[0]).save(Path("images") / name)
        yield annotator


def run(*arguments: str) -> list[str]:
    done = CliRunner().invoke(cli.app, ["annotate", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_one_box_in_every_format(annotator: Annotator) -> None:
    image = np.asarray(Image.open("images/one.png"))
    (outline,) = annotator.annotate(image, [BOX])
    said = run("images/one.png", "--box", TEXT, "--class", "square")
    assert said[0] == "1 objects in 1 images, by m, version 1"
    assert said[1:] == ["data/annotations/one.json", "data/annotations/one.png.outline.png"]
    of_labelme = json.loads(Path(said[1]).read_text())
    assert (Path(said[1]).parent / of_labelme["imagePath"]).resolve() == Path("images/one.png").resolve()
    assert (of_labelme["imageHeight"], of_labelme["imageWidth"]) == (120, 120)
    np.testing.assert_allclose(of_labelme["shapes"][0]["points"], outline.points, atol=0.005)
    drawn = np.asarray(Image.open(said[2]))
    x, y = outline.points[0].astype(int).clip(0, 119)
    assert np.abs(drawn[y, x].astype(int) - [255, 42, 109]).max() < 60  # a vertex

    said = run("images/one.png", "--box", TEXT, "--format", "geojson")
    (feature,) = json.loads(Path(said[1]).read_text())["features"]
    polygon = shape(feature["geometry"])
    assert polygon.area == pytest.approx(Polygon(outline.points).area, abs=2)  # hundredths of a pixel
    assert feature["properties"]["class"] == "object"

    said = run("images/one.png", "--box", TEXT, "--box", "30,20,80,70", "--format", "coco")
    coco = COCO(said[1])
    first, second = coco.loadAnns(coco.getAnnIds())
    filled = np.zeros((120 * 8, 120 * 8), np.uint8)
    cv2.fillPoly(filled, [np.round(outline.points * 8).astype(np.int32)[:, None]], 1)
    mask = coco.annToMask(first)
    assert mask.shape == (120, 120)
    ours = cv2.resize(filled, (120, 120), interpolation=cv2.INTER_AREA)
    assert (mask != ours).mean() < 0.02
    assert first["bbox"][:2] == pytest.approx(outline.points.min(0))
    assert second["id"] == 2
    for one in (first, second):  # whichever way round the network goes
        assert one["area"] == pytest.approx(Polygon(np.reshape(one["segmentation"][0], (-1, 2))).area, rel=0.01)
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["object"]


def test_what_is_written_is_what_ingestion_reads(annotator: Annotator) -> None:
    image = np.asarray(Image.open("images/one.png"))
    (outline,) = annotator.annotate(image, [BOX])
    for layout in ("labelme", "coco"):
        (file, _) = run("images/one.png", "--box", TEXT, "--class", "ell", "--format", layout, "--out", "read")[1:]
        text = Path(file).read_text()
        if layout == "coco":
            ((name, text),), _ = coco_annotations(json.loads(text))
            assert name == "one.png"
        read = read_annotation(text)
        (one,) = read.objects
        assert (read.size, one.class_name, one.reason) == ((120, 120), "ell", "")
        np.testing.assert_allclose(np.reshape(one.polygons[0], (-1, 2)), outline.points, atol=0.006)


def test_a_folder_and_a_fixed_vertex(annotator: Annotator, caplog: pytest.LogCaptureFixture) -> None:
    Path("images/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    rows = ["image,x0,y0,x1,y1,class", f"one.png,{TEXT},square", f"two.jpg,{TEXT},dragon", "two.jpg,0,0,60,60,"]
    Path("boxes.csv").write_text(
        "\n".join([*rows, f"broken.png,{TEXT},", f"../secret.png,{TEXT},", "one.png,5,5,6,6,"])
    )
    with pytest.raises(UserError, match=r"secret\.png: not in the folder images"):
        run("images", "--boxes", "boxes.csv", "--out", "out")
    Path("boxes.csv").write_text("\n".join([*rows, f"broken.png,{TEXT},"]))
    said = run("images", "--boxes", "boxes.csv", "--out", "out")
    assert said[0].startswith("3 objects in 2 images")
    assert {path.name for path in Path("out").iterdir()} == {"one.json", "two.json"} | {
        f"{name}.outline.png" for name in ("one.png", "two.jpg")
    }
    assert "dragon: not among what the model was trained on (square)" in caplog.text
    assert "images/broken.png: " in caplog.text

    (fixed,) = json.loads(Path(run("images/one.png", "--box", TEXT, "--fix", "1,80.5,20.25")[1]).read_text())["shapes"]
    assert fixed["points"][1] == [80.5, 20.25]
    with pytest.raises(NotADirectoryError):  # in one line, which names it
        run("images/one.png", "--box", TEXT, "--out", "boxes.csv")
    Path("out/one.json").write_text('{"shapes": []}')  # somebody's own
    with pytest.raises(UserError, match=r"out/one\.json: is there already"):
        run("images/one.png", "--box", TEXT, "--out", "out")
    assert Path("out/one.json").read_text() == '{"shapes": []}'


def test_pictures_of_every_kind(annotator: Annotator) -> None:
    image = Image.fromarray(draw("square", BOX)[0])
    grey = np.asarray(image.convert("L"))
    turned = image.getexif()
    turned[0x0112] = 6  # a quarter turn to the right
    kinds = {"grey.png": image.convert("L"), "cmyk.jpg": image.convert("CMYK"), "palette.gif": image.convert("P")}
    kinds |= {"alpha.png": image.convert("RGBA"), "deep.png": Image.fromarray(grey.astype(np.uint16) * 257)}
    for name, kind in kinds.items():
        kind.save(name)
        assert run(name, "--box", TEXT)[0].startswith("1 objects")
    image.resize((160, 120)).save("turned.jpg", exif=turned)
    said = run("turned.jpg", "--box", "10,10,100,150")
    content = json.loads(Path(said[1]).read_text())
    assert (content["imageHeight"], content["imageWidth"]) == (160, 120)
    Image.new("L", (12000, 9000)).save("large.png")  # 108 megapixels
    assert max(Image.open(run("large.png", "--box", "100,100,8000,8000")[2]).size) == 2000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["images/one.png"], "no box in it"),
        (["images/one.png", "--box", "1,2,3"], "--box 1,2,3: x0,y0,x1,y1 is wanted"),
        (["images/one.png", "--box", "a,b,c,d"], "x0,y0,x1,y1 is wanted"),
        (["images/one.png", "--box", "200,200,300,300"], "outside the image"),
        (["images/one.png", "--box", "nan,0,9,9"], "x0 < x1"),
        (["images/one.png", "--box", "5,5,6,6"], "1 × 1 pixels"),
        (["images/one.png", "--box", TEXT, "--fix", "1,2"], "--fix 1,2: i,x,y is wanted"),
        (["images/one.png", "--box", TEXT, "--fix", "1.5,2,3"], "numbered 0, 1, 2"),
        (["images/one.png", "--box", TEXT, "--fix", "inf,2,3"], "numbered 0, 1, 2"),
        (["images/one.png", "--box", TEXT, "--fix", "nan,2,3"], "numbered 0, 1, 2"),
        (["images/one.png", "--box", TEXT, "--fix", "0,900,900"], "fixed outside"),
        (["images/one.png", "--box", TEXT, "--format", "xml"], "labelme, coco or geojson"),
        (["images/one.png", "--boxes", "none.csv"], "none.csv: no CSV"),
        (["images", "--box", TEXT], "of one image"),
        (["images/none.png", "--box", TEXT], "no such file"),
        (["dvc.yaml", "--box", TEXT], "dvc.yaml: empty"),
        (["images/one.png", "--box", TEXT, "--model", "models:/outline-annotation/9"], "no such model"),
    ],
)
def test_refusals(annotator: Annotator, arguments: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        run(*arguments, "--out", "refused")
    assert "\n" not in str(refused.value)


def test_no_object_that_is_there_gets_lost(annotator: Annotator) -> None:
    for layout in ("labelme", "geojson", "coco"):

        def again(*arguments: str, layout: str = layout) -> list[str]:
            return run(*arguments, "--format", layout, "--out", "kept")

        first = again("images/one.png", "--box", TEXT, "--box", "30,20,80,70")[1]
        before = Path(first).read_bytes()
        with pytest.raises(UserError, match=r"already with 1 object\(s\) not asked for now"):
            again("images/one.png", "--box", TEXT)
        Path("others").mkdir(exist_ok=True)
        Path("others/one.png").write_bytes(Path("images/one.png").read_bytes())
        with pytest.raises(UserError, match=r"already with 2 object\(s\)"):
            again("others/one.png", "--box", TEXT, "--box", "30,20,80,70")  # an image of the same name
        assert Path(first).read_bytes() == before
        again("images/one.png", "--box", "30,20,80,70", "--box", TEXT, "--box", "20,20,80,80")  # all, and one more

        content = json.loads(Path(first).read_text())
        if layout == "labelme":
            content["shapes"][0]["points"][0][0] += 5  # by hand, where labelme keeps keys that it doesn't know
        else:
            content["corrected"] = True
        Path(first).write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"one\.\w+: is there already|coco\.json: is there already"):
            again("images/one.png", "--box", "30,20,80,70", "--box", TEXT, "--box", "20,20,80,80")
        assert json.loads(Path(first).read_text()) == content


def test_a_list_names_images_as_it_likes_and_each_has_a_file(annotator: Annotator) -> None:
    Path("many").mkdir()
    names = ["a.jpg.png", "a.png", "a.jpg", "b.png"]
    for name in names:
        Image.fromarray(draw("square", BOX)[0]).save(Path("many") / name)
    rows = [f"{name},{TEXT}" for name in names]
    rows += ["./b.png,30,20,80,70", f"{Path('many/b.png').absolute()},20,20,80,80", "x/../b.png,25,20,80,80"]
    Path("many.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]))
    said = run("many", "--boxes", "many.csv", "--out", "of_many")
    assert said[0].startswith("7 objects in 4 images")
    shapes = {file.name: json.loads(file.read_text()) for file in Path("of_many").glob("*.json")}
    assert sorted(Path(one["imagePath"]).name for one in shapes.values()) == sorted(names)
    assert [len(one["shapes"]) for one in shapes.values() if Path(one["imagePath"]).name == "b.png"] == [4]
    assert sorted(file.name for file in Path("many").iterdir()) == sorted(names)  # nothing is written beside them
    for name in ("../many/../secret.png", "..", "."):
        Path("many.csv").write_text(f"image,x0,y0,x1,y1\n{name},{TEXT}")
        with pytest.raises(UserError, match="not in the folder many"):
            run("many", "--boxes", "many.csv", "--out", "of_many")


def test_a_list_of_many_folders_has_boxes_of_one_image(annotator: Annotator) -> None:
    rows = [
        f"{name},{TEXT}" for name in ("images/one.png", "others/one.png", "one.png", "./images/one.png", "", "e.png")
    ]
    rows += [f"{Path('images/one.png').absolute()},{TEXT}"]
    Path("folders.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]))
    assert run("images/one.png", "--boxes", "folders.csv", "--out", "of_one")[0].startswith("4 objects in 1 images")


@pytest.mark.full
def test_labelme_opens_it(annotator: Annotator) -> None:
    """By its own reader, in an environment of its own: it brings a window system. What it saves is kept."""
    arguments = "images/one.png", "--box", TEXT, "--class", "square", "--out", "labelme_out"
    file = run(*arguments)[1]
    subprocess.run([sys.executable, "-m", "venv", "labelme"], check=True)
    python = Path("labelme/bin/python").absolute()
    subprocess.run([python, "-m", "pip", "install", "--quiet", "labelme==6.3.1"], check=True)
    code = f"""if True:
        from labelme._label_file import read_label_file, write_label_file
        read = read_label_file({file!r})
        print(read.shapes)
        shapes = [dict(label=s["label"], shape_type=s["shape_type"], points=s["points"][1:]) for s in read.shapes]
        write_label_file({file!r}, shapes=shapes, image_path=read.image_path, image_height=120, image_width=120,
                         other_data=read.other_data)
    """
    without_window = {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, env=without_window)
    assert done.returncode == 0, done.stderr
    assert "'label': 'square'" in done.stdout
    corrected = Path(file).read_bytes()
    assert "generator" in json.loads(corrected)
    with pytest.raises(UserError, match=r"one\.json: is there already, and isn't as scs annotate writes it"):
        run(*arguments)
    assert Path(file).read_bytes() == corrected
