import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from facemark.data.samples import folder_samples, read_mask, read_points
from facemark.data.splits import read_index
from facemark.images import decode, read_image
from facemark.labels import COLORS


def write_points(path, faces):
    path.write_text("".join("68\n" + "".join(f"{x} {y}\n" for x, y in face) for face in faces))


def test_image_is_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((2, 3, 3), (0, 0, 255), np.uint8))
    image = read_image(tmp_path / "red.png")
    assert image.shape == (2, 3, 3)
    assert (image == (255, 0, 0)).all()


def test_mask_values_are_palette_indices_not_colours(tmp_path):
    ids = np.arange(19, dtype=np.uint8)[None].repeat(4, 0)
    indexed = Image.fromarray(ids, "P")
    indexed.putpalette(COLORS.tobytes())
    indexed.save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png") == ids).all()


def test_colour_mask_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="8-bit grey or indexed PNG"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize("read", [read_image, read_mask, read_points])
def test_missing_and_broken_files_are_named(tmp_path, read):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nothing more")
    for path in (broken, tmp_path / "missing.png"):
        with pytest.raises(ValueError, match=path.name):
            read(path)


@pytest.mark.parametrize("count", [1, 3])
def test_points_of_one_or_several_faces(tmp_path, count):
    faces = np.random.default_rng(0).uniform(0, 99, (count, 68, 2)).astype(np.float32)
    write_points(tmp_path / "points.txt", faces)
    assert read_points(tmp_path / "points.txt") == pytest.approx(faces)


def test_points_of_another_layout_are_refused(tmp_path):
    (tmp_path / "lapa.txt").write_text("106\n" + "1 2\n" * 106)
    with pytest.raises(ValueError, match="68"):
        read_points(tmp_path / "lapa.txt")
    (tmp_path / "deep.txt").write_text("68\n" + "1 2\n" * 68 + "1 2 3\n")
    with pytest.raises(ValueError, match="68 lines x y"):
        read_points(tmp_path / "deep.txt")


def test_hidden_files_are_no_images(tmp_path):
    (tmp_path / "images").mkdir()
    for name in (".DS_Store", "._a.jpg", "a.jpg"):
        (tmp_path / "images" / name).touch()
    assert [sample.image.name for sample in folder_samples(tmp_path)] == ["a.jpg"]


def test_folder_without_images_names_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc pull"):
        folder_samples(tmp_path)


def test_index_holds_paths_split_and_classes(tmp_path):
    (tmp_path / "index.csv").write_text(
        "split,image,mask,points,classes,sha256\nval,a.jpg,a.png,a.txt,skin nose,0\ntrain,b.jpg,,b.txt,,1\n"
    )
    (val,) = read_index([tmp_path], "val")
    (train,) = read_index([tmp_path], "train")
    assert (val.image.name, val.points.name, val.split) == ("a.jpg", "a.txt", "val")
    assert val.classes == ("skin", "nose")
    assert (train.mask, train.classes) == (None, ())


def test_a_truncated_image_is_refused(tmp_path):
    path = tmp_path / "half.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"half\.jpg .*truncated"):
        read_image(path)


def test_training_decodes_images_as_the_endpoint_does(tmp_path):
    path = tmp_path / "turned.png"
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8))
    image.getexif()[ExifTags.Base.Orientation] = 6
    image.save(path, exif=image.getexif())
    assert read_image(path).shape == (8, 6, 3)
    assert (read_image(path) == decode(path.read_bytes())).all()
