import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image
from rich.console import Console
from typer.testing import CliRunner

from facemark.cli import app
from facemark.data import synthetic
from facemark.data.validation import list_samples
from facemark.datatools import contact_sheet, summary
from facemark.labels import COLORS, IGNORE, Region
from facemark.settings import Dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four drawn faces: two in train, one in val, one in test."""
    root = tmp_path_factory.mktemp("data") / "faces"
    for seed, split in ((0, "train"), (2, "train"), (4, "val"), (5, "test")):
        write(root / split, str(seed), synthetic.draw(seed))
    return root


def write(folder: Path, name: str, drawn: synthetic.Drawn) -> None:
    for part, suffix, content in (("images", "png", drawn.image), ("labels", "png", drawn.mask)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(content).save(folder / part / f"{name}.{suffix}")
    (folder / "landmarks").mkdir(exist_ok=True)
    faces = ("68\n" + "".join(f"{x} {y}\n" for x, y in face) for face in drawn.points.tolist())
    (folder / "landmarks" / f"{name}.txt").write_text("".join(faces))


def run(*arguments: object):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def cells(text: str, name: str) -> list[str]:
    """The cells of the row of a printed table that begins with a name."""
    (line,) = [line for line in text.splitlines() if line.strip("│ ").split(" ")[0] == name]
    return line.replace("│", " ").split()[1:]


def test_check_counts_the_contents_of_a_dataset(folder):
    done = run("check", folder, "--format", "starter")
    assert done.exit_code == 0, done.output
    assert "checking" in done.stderr and "checking" not in done.stdout
    assert cells(done.stdout, "train")[:4] == ["2", "2", "2", "2"]
    shapes = sorted((Image.open(path).size for path in folder.rglob("images/*.png")), key=lambda s: s[0] * s[1])
    assert cells(done.stdout, "all")[5:] == ["{}×{}".format(*shapes[0])]
    assert "{}×{}".format(*shapes[-1]) in done.stdout
    masks = [np.array(Image.open(path)) for path in sorted(folder.rglob("labels/*.png"))]
    share = 100 * sum((mask == Region.SKIN).sum() for mask in masks) / sum(mask.size for mask in masks)
    assert cells(done.stdout, "skin") == ["2", "1", "1", "4", f"{share:.2f}"]


def test_points_outside_the_image_are_counted():
    faces = np.zeros((1, 68, 2))
    faces[0, :4] = (-0.6, 0), (0, 9.4), (0, 9.6), (3.6, 9.6)
    assert summary.count_outside(faces, (4, 10)) == 3
    assert summary.count_outside(summary.NO_FACES, (4, 10)) == 0


@pytest.mark.parametrize(
    ("corrupt", "phrase"),
    [
        (lambda root: (root / "train/images/0.png").write_bytes(b"\x89PNG no more"), "cannot be read as a picture"),
        (lambda root: (root / "train/labels/2.png").unlink(), "cannot be read as a mask"),
        (lambda root: mirror(root / "val/labels/4.png"), "left and right are swapped"),
        (lambda root: repaint(root, Region.NOSE, Region.SKIN), "no mask shows nose"),
        (lambda root: repaint(root, Region.SKIN, Region.HAIR), "nose is larger than skin"),
    ],
)
def test_check_fails_where_prepare_would_refuse(folder, tmp_path, corrupt, phrase):
    root = tmp_path / "faces"
    for path in folder.rglob("*.*"):
        (root / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        (root / path.relative_to(folder)).write_bytes(path.read_bytes())
    corrupt(root)
    done = run("check", root, "--format", "celebamask")
    assert done.exit_code == 1
    assert phrase in done.stderr


def test_check_names_points_that_fit_no_face(landmarks):
    done = run("check", landmarks, "--format", "landmarks68")
    lines = [line for line in done.stderr.splitlines() if ".jpg: " in line]
    assert [line.split("/")[-1].split(": ", 1)[0] for line in lines] == ["00.jpg", "01.jpg", "48.jpg"]
    assert [line.endswith("points that fit no face: 30 of face 1") for line in lines] == [True, False, True]
    assert done.exit_code == 0
    assert done.stderr.count("prepare moves such points") == 1


def mirror(path: Path) -> None:
    Image.fromarray(np.array(Image.open(path))[:, ::-1]).save(path)


def repaint(root: Path, one: int, other: int) -> None:
    for path in root.rglob("labels/*.png"):
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == one, other, mask).astype(np.uint8)).save(path)


@pytest.mark.parametrize("command", [["check"], ["show", "-o", "sheet.png"]])
def test_impossible_options_are_explained(tmp_path, command):
    for options, phrase in (
        (["starter"], "expected: "),
        (["bisenet"], "'celebamask'"),
        (["folder"], "needs classes"),
        (["folder", "--classes", "{0: left_eye}"], "left_eye is not a class"),
        (["folder", "--classes", "{0: "], "expected"),
    ):
        done = run(*command, tmp_path, "--format", *options)
        assert (done.exit_code, done.exception.__class__) == (1, SystemExit)
        assert phrase in done.stderr


def test_sheet_has_three_tiles_in_a_row(folder, tmp_path):
    assert run("show", folder, "--format", "starter", "-o", tmp_path / "sheet.png", "-n", 3).exit_code == 0
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.width == 3 * (2 * contact_sheet.TILE + 3 * contact_sheet.MARGIN)
    done = run("show", folder, "--format", "starter", "-o", tmp_path / "nowhere/sheet.png")
    assert done.exit_code == 1 and "cannot be written" in done.stderr


def test_points_far_outside_the_image_can_be_drawn():
    image = np.zeros((100, 100, 3), np.uint8)
    drawn = contact_sheet.draw_points(image, np.where(np.arange(68)[:, None] % 2, 50, 1e9)[None] * np.ones(2))
    assert drawn.any()


def test_mask_and_points_are_drawn_at_their_place():
    image, mask = np.full((448, 448, 3), 100, np.uint8), np.zeros((448, 448), np.uint8)
    mask[:, 224:], mask[:10] = Region.HAIR, IGNORE
    tint = contact_sheet.blend_mask(image, mask)
    assert tint[300, 300] == pytest.approx(0.3 * 100 + 0.7 * COLORS[Region.HAIR].astype(float), abs=1)
    assert tint[5, 5] == pytest.approx(0.3 * 100 + 0.7 * 128.0, abs=1)
    points = np.full((1, 68, 2), -50.0, np.float32)
    points[0, 36:42] = np.array([(100, 100), (120, 90), (140, 90), (160, 100), (140, 110), (120, 110)])
    drawn = contact_sheet.draw_points(image, points)
    assert drawn.shape == (224, 224, 3)
    reddest = np.argwhere((drawn[..., 0] > 200) & (drawn[..., 1] < 120))
    assert reddest.min(0)[::-1] == pytest.approx([50, 45], abs=1.5)
    assert reddest.max(0)[::-1] == pytest.approx([80, 55], abs=1.5)


def test_sheet_names_problems_and_shows_the_rest(folder, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "images/broken.png").write_bytes(b"\x89PNG no more")
    cv2.imwrite(str(tmp_path / "images/unknown_id.png"), np.full((50, 40, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "labels/unknown_id.png"), np.full((40, 40), 77, np.uint8))
    described = Dataset(format="celebamask", path=tmp_path)
    tiles = [contact_sheet.draw_tile(each, tmp_path) for each in list_samples(described)]
    assert [values for _, values in tiles] == [set(), {77}]
    for tile, _ in tiles:
        above = np.array(tile)[: 2 * contact_sheet.LINE_HEIGHT]
        assert ((above[..., 0] > 150) & (above[..., 1] < 60)).any()
    assert (np.array(tiles[1][0]) == (255, 0, 255)).all(2).any()  # no class
    assert contact_sheet.draw_contact_sheet(described, 12).size == (
        2 * tiles[0][0].width,
        tiles[0][0].height + contact_sheet.LINE_HEIGHT + 2 * contact_sheet.MARGIN,
    )


def test_faces_with_only_points_are_counted_and_shown_cropped(folder, tmp_path):
    described = Dataset(format="landmarks68", path=folder)
    report, found = summary.check_dataset(described)
    console = Console(record=True, width=140, file=(tmp_path / "out").open("w"))
    console.print(report)
    assert cells(console.export_text(), "all")[:4] == ["4", "0", "4", "4"]
    assert "skin" not in console.export_text()
    assert not found.bad
    image, mask, points = contact_sheet.read_sample(list_samples(described)[0])
    assert image.shape[:2] == mask.shape
    inside = mask[tuple(points[0, 36:42].mean(0).round().astype(int)[::-1])]
    assert inside == Region.R_EYE


def test_long_lines_keep_their_end():
    words = json.dumps(list(range(200)))
    short = contact_sheet.shorten(words, 300)
    assert contact_sheet.FONT.getlength(short) <= 300
    assert short.startswith("… ") and words.endswith(short[2:])
    assert contact_sheet.shorten("short", 300) == "short"


@pytest.mark.parametrize("kind", ["png", "jpg", "tiff"])
def test_sizes_are_those_of_the_oriented_image(folder, tmp_path, kind):
    root = tmp_path / "faces"
    write(root / "train", "0", synthetic.draw(0))
    photo = root / "train/images/0.png"
    image = Image.fromarray(np.rot90(np.array(Image.open(photo))))
    image.getexif()[ExifTags.Base.Orientation] = 6  # to be rotated clockwise by a quarter turn
    image.save(photo.with_suffix(f".{kind}"), exif=image.getexif())
    if kind != "png":
        photo.unlink()
    done = run("check", root, "--format", "starter")
    height, width = synthetic.draw(0).image.shape[:2]
    assert done.stdout.count(f"{width}×{height}") == 4  # the smallest and the largest, of the split and of all


@pytest.mark.parametrize("points", ["", "68\n" + "900 900\n910 920\n" * 34], ids=["none", "outside"])
def test_an_image_without_a_face_is_marked_in_the_sheet(tmp_path, points):
    for part in ("images", "landmarks"):
        (tmp_path / "faces/train" / part).mkdir(parents=True)
    Image.new("RGB", (60, 40)).save(tmp_path / "faces/train/images/0.png")
    (tmp_path / "faces/train/landmarks/0.txt").write_text(points)
    done = run("show", tmp_path / "faces", "--format", "landmarks68", "-o", tmp_path / "sheet.png")
    assert done.exit_code == 0, done.output
    red, green, _ = np.moveaxis(np.array(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int), -1, 0)
    assert ((red > 150) & (green < 60)).any()  # what is wrong with it
