import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hand_made_masks import face_mask
from PIL import Image

from facemark.data import synthetic
from facemark.data.copies import is_large
from facemark.data.preparation import prepare_dataset
from facemark.data.samples import Sample, read_mask, read_points, write_points
from facemark.data.splits import read_index
from facemark.images import read_image
from facemark.labels import CLASSES, Region
from facemark.settings import Dataset, Prepare, Splits


@pytest.fixture
def folder(tmp_path):
    def write(name: str, mask: np.ndarray, image: np.ndarray | None = None) -> None:
        for part in ("images", "labels"):
            (tmp_path / "faces/train" / part).mkdir(parents=True, exist_ok=True)
        image = np.zeros((*mask.shape, 3), np.uint8) if image is None else image
        cv2.imwrite(str(tmp_path / f"faces/train/images/{name}.jpg"), image)
        cv2.imwrite(str(tmp_path / f"faces/train/labels/{name}.png"), mask)

    for i in range(8):
        write(f"good{i}", face_mask())
    return tmp_path / "faces", write


def settings(path, bad_samples="refuse", form="celebamask") -> Prepare:
    return Prepare(
        datasets={"mine": Dataset(format=form, path=path)},
        splits=Splits(val=0.2, test=0.2),
        bad_samples=bad_samples,
        seed=1,
    )


def bad_cases(folder, write):
    write("swapped", np.ascontiguousarray(face_mask()[:, ::-1]))
    write("unknown_id", np.full((96, 96), 77, np.uint8))
    write("small", face_mask(), np.zeros((48, 48, 3), np.uint8))
    (folder / "train/images/broken.jpg").write_bytes(b"\xff\xd8 no more")
    (folder / "train/images/unmasked.jpg").write_bytes((folder / "train/images/good0.jpg").read_bytes())
    return {
        "swapped": "l_eye/r_eye",
        "unknown_id": "ids [77]",
        "small": "48×48",
        "broken": "cannot be read as a picture",
        "unmasked": "cannot be read as a mask",
    }


def test_bad_samples_are_refused_each_by_name(folder, tmp_path, capsys):
    expected = bad_cases(*folder)
    with pytest.raises(SystemExit, match="5 of 13"):
        prepare_dataset("mine", settings(folder[0]), tmp_path / "out")
    printed = capsys.readouterr().err
    for name, phrase in expected.items():
        (line,) = [line for line in printed.splitlines() if f"{name}.jpg:" in line]
        assert phrase in line
    assert not (tmp_path / "out").exists()


def test_bad_samples_are_set_aside_and_listed(folder, tmp_path):
    expected = bad_cases(*folder)
    prepare_dataset("mine", settings(folder[0], "set_aside"), tmp_path / "out")
    with (tmp_path / "out/set_aside.csv").open() as file:
        listed = {row["image"].split("/")[-1].split(".")[0]: row["problems"] for row in csv.DictReader(file)}
    assert listed.keys() == expected.keys()
    assert all(expected[name] in listed[name] for name in expected)
    kept = [s.image.stem for name in ("train", "val", "test") for s in read_index([tmp_path / "out"], name)]
    assert sorted(kept) == [f"good{i}" for i in range(8)]


def test_faces_with_only_points_are_listed_without_masks(tmp_path):
    for part in ("images", "landmarks"):
        (tmp_path / "faces/train" / part).mkdir(parents=True)
    points = synthetic.draw(0).points[0] * 96 / max(synthetic.draw(0).mask.shape)
    for i, count in enumerate((1, 1, 2)):
        cv2.imwrite(str(tmp_path / f"faces/train/images/{i}.jpg"), np.zeros((96, 96, 3), np.uint8))
        write_points(tmp_path / f"faces/train/landmarks/{i}.txt", np.repeat(points[None], count, 0))
    prepare_dataset("mine", settings(tmp_path / "faces", "set_aside", "landmarks68"), tmp_path / "out")
    kept = [s for name in ("train", "val", "test") for s in read_index([tmp_path / "out"], name)]
    assert sorted(s.image.stem for s in kept) == ["0", "1"]
    assert all(s.mask is None and s.points and s.classes == () for s in kept)
    assert "2 faces have points" in (tmp_path / "out/set_aside.csv").read_text()


def test_statistics_count_training_pixels_only(folder, tmp_path):
    prepare_dataset("mine", settings(folder[0]), tmp_path / "out")
    found = json.loads((tmp_path / "out/statistics.json").read_text())
    train = found["samples"]["train"]
    assert sum(found["samples"].values()) == 8
    assert list(found["pixels"]) == list(CLASSES)
    assert found["pixels"]["nose"] == train * int((face_mask() == Region.NOSE).sum())
    assert found["pictures"]["nose"] == train
    assert found["pictures"]["hat"] == 0
    (any_of_them, *_) = read_index([tmp_path / "out"], "train")
    assert set(any_of_them.classes) == {CLASSES[i] for i in np.unique(face_mask())}


def test_outliers_are_corrected_in_train_and_listed_in_all_splits(landmarks, tmp_path):
    line = prepare_dataset("mine", settings(landmarks, form="landmarks68"), tmp_path / "out")
    with (tmp_path / "out/outliers.csv").open() as file:
        rows = [(Path(row["points"]).name, row["face"], row["point"]) for row in csv.DictReader(file)]
    assert line == f"mine: 41 train, 12 val, 7 test, 0 set aside, {len(rows)} points that fit no face"
    assert [row for row in rows if row[0] != "01.txt"] == [("00.txt", "1", "30"), ("48.txt", "1", "30")]
    train, val = (read_index([tmp_path / "out"], name) for name in ("train", "val"))
    pairs = {s.points: (read_points(landmarks / f"{s.split}/landmarks/{s.image.stem}.txt")[0], read_points(s.points)[0])
             for s in [*train, *val]}  # fmt: skip
    changed = [path for path, (given, used) in pairs.items() if not np.allclose(given, used, atol=1e-3)]
    assert changed == [train[0].points] and train[0].image.stem == "00"
    given, used = pairs[train[0].points]
    others = np.arange(68) != 30
    np.testing.assert_allclose(used[others], given[others], atol=1e-3)
    assert np.linalg.norm(used[30] - used[[29, 33]].mean(0)) < 0.5 * np.linalg.norm(used[36] - used[45])


def test_large_images_are_downscaled_for_training_only(folder, tmp_path):
    big, striped = np.repeat(np.repeat(face_mask(), 20, 0), 20, 1), np.zeros((1920, 1920, 3), np.uint8)
    striped[:, 960:] = 255
    for i in range(8):
        folder[1](f"large{i}", big, striped)
    prepare_dataset("mine", settings(folder[0]), tmp_path / "out")
    splits = {name: read_index([tmp_path / "out"], name) for name in ("train", "val", "test")}
    assert all(s.image.parent.name == "images" for name in ("val", "test") for s in splits[name])
    assert {s.image.parent.name for s in splits["train"]} == {"images", "downscaled"}
    for sample in splits["train"]:
        image, mask = read_image(sample.image), read_mask(sample.mask)
        if sample.image.parent.name == "images":
            assert mask.shape == (96, 96)
            continue
        assert "large" in sample.image.name
        # of three blocks of 20 pixels each, 40 are left: the first begins and the last ends where they did
        np.testing.assert_array_equal(mask[::40, ::40], face_mask()[::3, ::3])
        np.testing.assert_array_equal(mask[39::40, 39::40], face_mask()[2::3, 2::3])
        assert set(np.unique(mask)) == set(np.unique(face_mask()))
        assert image.shape == (1280, 1280, 3)
        assert image[:, :639].max() < 10 and image[:, 641:].min() > 245


def test_images_with_points_keep_their_size(tmp_path):
    Image.new("RGB", (1300, 10)).save(tmp_path / "a.png")
    sample = Sample(tmp_path / "a.png", tmp_path / "mask.png", None, "train")
    assert is_large(sample)
    for other in ({"points": tmp_path / "a.txt"}, {"mask": None}, {"split": "val"}):
        assert not is_large(replace(sample, **other))


def test_images_that_share_a_name_are_set_aside_unless_the_other_is_no_image(folder, tmp_path, capsys):
    images = folder[0] / "train/images"
    shutil.copy(images / "good1.jpg", images / "good1.PNG")
    (images / "good2.json").touch()
    prepare_dataset("mine", settings(folder[0], "set_aside"), tmp_path / "out")
    named = {line.split(": ")[0]: line for line in capsys.readouterr().err.splitlines() if ": " in line}
    assert {Path(name).name for name in named} == {"good1.jpg", "good1.PNG", "good2.json"}
    assert all("has the same name" in line for name, line in named.items() if "good1" in name)
    assert sum(len(read_index([tmp_path / "out"], name)) for name in ("train", "val", "test")) == 7


def test_masks_of_no_classes_are_refused_but_not_masks_of_a_rare_class(folder, tmp_path):
    root, write = folder
    for i in range(8):
        write(f"good{i}", np.where(face_mask() > 0, 255, 0).astype(np.uint8))
    with pytest.raises(SystemExit, match="anything but background and ignored pixels; a mask holds"):
        prepare_dataset("mine", settings(root), tmp_path / "out")
    write("good0", np.where(face_mask() == Region.R_EYE, int(Region.EYE_G), 255).astype(np.uint8))
    prepare_dataset("mine", settings(root), tmp_path / "out")


def test_points_of_other_images_are_refused(folder, tmp_path):
    root, _ = folder
    points = synthetic.draw(0).points[0].astype(float)
    points = 48 + 48 * (points - points[[36, 45]].mean(0)) / np.ptp(points, 0).max()
    (root / "train/landmarks").mkdir()
    for (dx, dy), refused in (((0, -12), False), ((30, 30), True)):
        for i in range(8):
            write_points(root / f"train/landmarks/good{i}.txt", points[None] + (dx, dy))
        if refused:
            with pytest.raises(SystemExit, match="most points are elsewhere than the eyes of their mask"):
                prepare_dataset("mine", settings(root), tmp_path / "out")
        else:
            prepare_dataset("mine", settings(root), tmp_path / "out")
