import importlib
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from facemark.data import synthetic
from facemark.data.formats import celebamask_parts, face_synthetics, helen_star, lapa, pts300w, wflw
from facemark.data.preparation import prepare_dataset
from facemark.data.sample_checks import is_mirrored
from facemark.data.samples import read_ids, read_mask, read_points, read_xy
from facemark.data.splits import read_index
from facemark.labels import BESIDE_FACE, CLASSES, FLIP, FLIP_POINTS, IGNORE, Region
from facemark.settings import Dataset, Prepare, Splits

# the id that each of our classes has in the order of the BiSeNet ports, in FaRL's and in FaceSynthetics' own
BISENET = [0, 1, 10, 6, 4, 5, 2, 3, 7, 8, 11, 12, 13, 17, 18, 9, 15, 14, 16]
FARL = [0, 2, 10, 15, 8, 9, 6, 7, 4, 5, 11, 13, 12, 14, 16, 17, 18, 1, 3]
SYNTHETICS = [0, 1, 2, 16, 4, 3, 6, 5, 8, 7, 9, 10, 11, 13, 17, 0, 0, 12, 15]


def person() -> np.ndarray:
    """A 64 × 64 mask of one person in our ids."""
    mask = np.zeros((64, 64), np.uint8)
    for region, centre, axes in [
        (Region.CLOTH, (32, 64), (24, 8)),
        (Region.NECK, (32, 54), (8, 8)),
        (Region.HAIR, (32, 24), (24, 22)),
        (Region.R_EAR, (12, 33), (2, 5)),
        (Region.L_EAR, (52, 33), (2, 5)),
        (Region.SKIN, (32, 32), (18, 22)),
        (Region.R_BROW, (24, 22), (5, 1)),
        (Region.L_BROW, (40, 22), (5, 1)),
        (Region.R_EYE, (24, 27), (4, 2)),
        (Region.L_EYE, (40, 27), (4, 2)),
        (Region.NOSE, (32, 35), (3, 5)),
        (Region.U_LIP, (32, 43), (6, 1)),
        (Region.MOUTH, (32, 45), (5, 1)),
        (Region.L_LIP, (32, 48), (6, 1)),
    ]:
        cv2.ellipse(mask, centre, axes, 0, 0, 360, int(region), -1)
    return mask


def face() -> np.ndarray:
    """The 68 points of that person, each group within its region."""

    def ring(count, centre, axes, start=np.pi):
        turn = start + np.linspace(0, 2 * np.pi, count, endpoint=False)
        return np.array(centre) + np.array(axes) * np.stack([np.cos(turn), np.sin(turn)], 1)

    jaw = np.linspace(np.pi, 0, 17)
    return np.vstack([
        np.stack([32 + 18 * np.cos(jaw), 32 + 22 * np.sin(jaw)], 1),
        np.linspace((20, 22), (28, 22), 5), np.linspace((36, 22), (44, 22), 5),
        np.linspace((32, 28), (32, 35), 4), np.linspace((29, 38), (35, 38), 5),
        ring(6, (24, 27), (4, 2)), ring(6, (40, 27), (4, 2)),
        ring(12, (32, 45), (6, 4)), ring(8, (32, 45), (5, 2)),
    ]).astype(np.float32)  # fmt: skip


def theirs(mask: np.ndarray, ids: dict[int, int]) -> np.ndarray:
    """A mask of our ids in those of a dataset; classes that it lacks become its background, 0."""
    table = np.zeros(256, np.uint8)
    for its, ours in reversed(ids.items()):
        table[ours] = its
    return table[mask]


def spread(points: np.ndarray, which: np.ndarray, count: int) -> np.ndarray:
    """68 points at their indices among the points of a dataset; its other points are elsewhere."""
    more = np.full((count, 2), 999.0)
    more[which] = points
    return more


def lines(points: np.ndarray) -> str:
    return "".join(f"{x} {y}\n" for x, y in points.tolist())


def write_image(path: Path, side: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side, side, 3), 128, np.uint8))
    return path


def save(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def prepared(tmp_path, name, **more) -> tuple[dict, str]:
    """Prepare the folder ``set``: samples by split, and the text of ``set_aside.csv``."""
    settings = Prepare(
        datasets={"mine": Dataset(format=name, path=tmp_path / "set", **more)},
        splits=Splits(val=0, test=0),
        bad_samples="set_aside",
        seed=1,
    )
    prepare_dataset("mine", settings, tmp_path / "out")
    splits = {split: read_index([tmp_path / "out"], split) for split in ("train", "val", "test")}
    return splits, (tmp_path / "out/set_aside.csv").read_text()


def test_every_format_has_a_module():
    formats = get_args(Dataset.model_fields["format"].annotation)
    assert all(callable(importlib.import_module(f"facemark.data.formats.{name}").samples) for name in formats)


# LaPa


def write_lapa(root: Path, name: str, ids: dict[int, int], split: str = "train") -> None:
    write_image(root / split / f"images/{name}.jpg")
    save(root / split / f"labels/{name}.png", theirs(person(), ids))
    text(root / split / f"landmarks/{name}.txt", "106\n" + lines(spread(face(), lapa.POINTS, 106)))


def as_lapa(mask: np.ndarray) -> np.ndarray:
    """A mask of ours with the classes of LaPa; the others are known not to be the face."""
    return np.where(np.isin(mask, list(lapa.VIEWERS.values())), mask, BESIDE_FACE)


@pytest.mark.parametrize("ids", [lapa.VIEWERS, lapa.SUBJECTS], ids=["viewer's", "subject's"])
def test_lapa_landmarks_determine_whose_left_is_meant(tmp_path, ids):
    for split, name in [("train", "a"), ("train", "b"), ("val", "a"), ("test", "a")]:
        write_lapa(tmp_path / "set", name, ids, split)
    splits, aside = prepared(tmp_path, "lapa")
    assert {name: len(found) for name, found in splits.items()} == {"train": 2, "val": 1, "test": 1}
    assert aside == "image,problems\n"
    for sample in (sample for found in splits.values() for sample in found):
        assert (read_mask(sample.mask) == as_lapa(person())).all()
        assert read_points(sample.points) == pytest.approx(face()[None], abs=1e-3)
        assert "cloth" not in sample.classes and "background" not in sample.classes


def test_lapa_masks_that_contradict_the_others_are_set_aside(tmp_path):
    for name in "abc":
        write_lapa(tmp_path / "set", name, lapa.VIEWERS)
    write_lapa(tmp_path / "set", "swapped", lapa.SUBJECTS)
    write_lapa(tmp_path / "set", "unknown_id", {11: Region.SKIN})
    write_lapa(tmp_path / "set", "few", lapa.VIEWERS)
    text(tmp_path / "set/train/landmarks/few.txt", "68\n" + lines(face()))
    splits, aside = prepared(tmp_path, "lapa")
    assert len(splits["train"]) == 3
    for name, phrase in {"swapped": "l_eye/r_eye", "unknown_id": "ids [11]", "few": "106 times x y"}.items():
        (line,) = [line for line in aside.splitlines() if f"/{name}.jpg" in line]
        assert phrase in line


def test_lapa_without_landmarks_is_refused(tmp_path):
    write_lapa(tmp_path, "a", lapa.VIEWERS)
    (tmp_path / "train/landmarks/a.txt").unlink()
    with pytest.raises(ValueError, match="whose left"):
        lapa.samples(tmp_path)


MIRROR = {i: 32 - i for i in range(33)} | {
    **dict(zip(range(33, 38), range(46, 41, -1), strict=True)),
    **{i: i for i in range(51, 55)},
}
LAPA_MIRROR = MIRROR | {
    **{57: 63, 58: 62, 60: 60, 66: 79, 67: 78, 69: 76, 70: 75, 71: 82, 73: 80},
    **{84: 90, 85: 89, 86: 88, 87: 87, 91: 95, 92: 94, 93: 93, 96: 100, 97: 99, 98: 98, 101: 103, 102: 102},
}
WFLW_MIRROR = MIRROR | {
    **{55: 59, 56: 58, 57: 57, 60: 72, 61: 71, 63: 69, 64: 68, 65: 75, 67: 73},
    **{76: 82, 77: 81, 78: 80, 79: 79, 83: 87, 84: 86, 85: 85, 88: 92, 89: 91, 90: 90, 93: 95, 94: 94},
}


@pytest.mark.parametrize(("points", "mirror"), [(lapa.POINTS, LAPA_MIRROR), (wflw.POINTS, WFLW_MIRROR)])
def test_selected_points_are_symmetric(points, mirror):
    both = mirror | {left: right for right, left in mirror.items()}
    assert len(points) == len(set(points.tolist())) == 68
    assert [both[i] for i in points.tolist()] == points[FLIP_POINTS].tolist()


# CelebAMask-HQ as released


def parts(mask: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of 512 × 512 pixels that a mask of our ids shows."""
    large = cv2.resize(mask, (512, 512), interpolation=cv2.INTER_NEAREST)
    return {name: large == i for i, name in enumerate(CLASSES) if i and (mask == i).any()}


def write_parts(root: Path, number: int, parts: dict[str, np.ndarray]) -> None:
    write_image(root / f"CelebA-HQ-img/{number}.jpg", 1024)
    for name, part in parts.items():
        colour = np.repeat((part * np.uint8(255))[..., None], 3, 2)
        save(root / f"CelebAMask-HQ-mask-anno/{number // 2000}/{number:05}_{name}.png", colour)


def write_mapping(root: Path, originals: dict[int, int]) -> None:
    rows = [f"{number} {original} {original + 1:06}.jpg\n" for number, original in originals.items()]
    text(root / "CelebA-HQ-to-CelebA-mapping.txt", "idx orig_idx orig_file\n" + "".join(rows))


def test_a_later_celebamask_part_covers_an_earlier_one(tmp_path):
    skin, nose, hair, cloth = (np.zeros((512, 512), bool) for _ in range(4))
    skin[100:400], nose[200:300], hair[:250], cloth[390:] = True, True, True, True
    write_parts(tmp_path / "set", 4001, {"skin": skin, "nose": nose, "hair": hair, "cloth": cloth})
    write_parts(tmp_path / "set", 29999, parts(person()))
    write_mapping(tmp_path / "set", {4001: 5, 29999: 6})
    sample, whole = prepared(tmp_path, "celebamask_parts")[0]["train"]
    assert (read_mask(whole.mask)[::16, ::16] == person()).all()
    column = np.repeat([13, 2, 1, 18], [250, 50, 90, 122]).repeat(2)
    assert (read_mask(sample.mask) == column[:, None].repeat(1024, 1)).all()
    assert (sample.classes, sample.points) == (("skin", "nose", "hair", "cloth"), None)


def test_celebamask_parts_have_the_split_of_celeba(tmp_path):
    write_mapping(tmp_path, dict(enumerate([0, 162770, 162771, 182637, 182638, 202598])))
    splits = celebamask_parts.read_splits(tmp_path / "CelebA-HQ-to-CelebA-mapping.txt")
    assert list(splits.values()) == ["train", "train", "val", "val", "test", "test"]


def test_celebamask_parts_that_are_missing_are_named(tmp_path):
    root = tmp_path / "set"
    for number in range(4):
        write_parts(root, number, parts(person()))
    for part in (root / "CelebAMask-HQ-mask-anno/0").glob("00001_*.png"):
        part.unlink()
    (root / "CelebAMask-HQ-mask-anno/0/00003_nose.png").unlink()
    save(root / "CelebAMask-HQ-mask-anno/0/00002_hair.png", np.zeros((64, 64), np.uint8))
    write_mapping(root, {0: 0, 1: 1, 3: 3})
    with pytest.raises(ValueError, match="lacks 1 of the pictures, for example 2"):
        celebamask_parts.samples(root)
    write_mapping(root, {n: n for n in range(4)})
    splits, aside = prepared(tmp_path, "celebamask_parts")
    assert [sample.image.stem for sample in splits["train"]] == ["0"]
    assert "no parts 00001_*.png" in aside and "no part 00003_nose.png" in aside
    assert "00002_hair.png cannot be read as a part" in aside
    (root / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    with pytest.raises(ValueError, match="idx orig_idx orig_file"):
        celebamask_parts.samples(root)


# HELEN* and FaceSynthetics


def test_helen_star_means_the_viewers_left(tmp_path):
    for name, ids, split in [
        ("1_1", lapa.VIEWERS, "train"),
        ("2_1", lapa.SUBJECTS, "train"),
        ("3_1", lapa.VIEWERS, "test"),
    ]:
        write_image(tmp_path / f"set/{split}/{name}_image.jpg")
        save(tmp_path / f"set/{split}/{name}_label.png", theirs(person(), ids))
        write_image(tmp_path / f"set/{split}/{name}_viz.jpg")
    splits, aside = prepared(tmp_path, "helen_star")
    assert [sample.image.stem for name in ("train", "test") for sample in splits[name]] == ["1_1_image", "3_1_image"]
    assert (read_mask(splits["train"][0].mask) == as_lapa(person())).all()
    assert aside.count("\n") == 2
    assert '2_1_image.jpg,"left and right are swapped in l_eye/r_eye, l_brow/r_brow"' in aside


def write_synthetics(root: Path, name: str, mask: np.ndarray, points: np.ndarray) -> None:
    write_image(root / f"{name}.png")
    save(root / f"{name}_seg.png", mask)
    text(root / f"{name}_ldmks.txt", lines(points))


def test_face_synthetics_has_right_before_left_and_pupils_last(tmp_path):
    mask = theirs(person(), face_synthetics.IDS)
    assert (mask[27, 24], mask[27, 40], mask[22, 24], mask[33, 11], mask[60, 15]) == (3, 4, 5, 7, 15)
    mask[50:52, 28:36], mask[:2], mask[-1] = 14, 18, 255  # beard, facewear
    write_synthetics(tmp_path / "set", "000000", mask, spread(face(), np.arange(68), 70))
    write_synthetics(tmp_path / "set", "000001", mask, face())
    write_synthetics(tmp_path / "set", "000002", np.full_like(mask, 19), spread(face(), np.arange(68), 70))
    splits, aside = prepared(tmp_path, "face_synthetics")
    (sample,) = splits["train"]
    expected = person()
    expected[50:52, 28:36], expected[:2], expected[-1] = Region.SKIN, IGNORE, IGNORE
    assert (read_mask(sample.mask) == expected).all()
    assert read_points(sample.points) == pytest.approx(face()[None], abs=1e-3)
    assert "000001_ldmks.txt has 68 points" in aside and "70 times x y" in aside
    assert "ids [19]" in aside


# points without masks


def pts(points: np.ndarray) -> str:
    return f"version: 1\nn_points:  {len(points)}\n{{\n{lines(points)}}}\n"


def test_pts_are_one_based(tmp_path):
    points = face()
    points[8] = (0, 63)
    for name, suffix in [
        ("helen/trainset/a", ".jpg"),
        ("helen/testset/a", ".jpg"),
        ("ibug/b", ".jpg"),
        ("afw/c", ".png"),
    ]:
        write_image(tmp_path / f"set/{name}{suffix}")
        text(tmp_path / f"set/{name}.pts", pts(points + 1))
    splits, aside = prepared(tmp_path, "pts300w")
    assert aside == "image,problems\n"
    assert [s.image.relative_to(tmp_path / "set").as_posix() for s in splits["train"]] == [
        "afw/c.png",
        "helen/trainset/a.jpg",
    ]
    assert [s.image.relative_to(tmp_path / "set").as_posix() for s in splits["test"]] == [
        "helen/testset/a.jpg",
        "ibug/b.jpg",
    ]
    (found,) = read_points(splits["train"][0].points)
    assert found == pytest.approx(points, abs=1e-3)
    assert found[8].tolist() == [0, 63]
    assert splits["train"][0].mask is None


def test_a_single_set_of_300w_has_the_same_splits_as_among_the_others(tmp_path):
    for name in ("helen/testset/a", "helen/trainset/b", "ibug/c"):
        text(tmp_path / f"{name}.pts", pts(face()))
    assert [each.split for each in pts300w.samples(tmp_path / "helen")] == ["test", "train"]
    assert [each.split for each in pts300w.samples(tmp_path / "ibug")] == ["test"]


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (pts(face()[:29]), "29 points"),
        (pts(face()).replace("}", ""), "67 points or other lines"),
        (pts(face()).replace("version: 1\n", ""), "68 times x y"),
        ("68\n" + lines(face()), "n_points: 68"),
        (pts(face()).replace("\n32.0 ", "\nnan ", 1), "68 times x y"),
        (pts(face() * (-1, 1) + (64, 0)), "left and right are swapped in the points"),
        (None, "cannot be read as a picture"),
    ],
)
def test_pts_files_of_another_layout_are_set_aside(tmp_path, content, phrase):
    for name in ("good", "bad"):
        write_image(tmp_path / f"set/{name}.jpg")
        text(tmp_path / f"set/{name}.pts", pts(face()))
    if content:
        text(tmp_path / "set/bad.pts", content)
    else:
        (tmp_path / "set/bad.jpg").unlink()
    splits, aside = prepared(tmp_path, "pts300w")
    assert [sample.image.stem for sample in splits["train"]] == ["good"]
    assert "bad." in aside and phrase in aside


def test_mirrored_points_are_recognised_in_any_rotation():
    points = face()
    for turn in np.radians([0, 45, 90, 180, 270]):
        matrix = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
        assert not is_mirrored(points @ matrix.T)
        assert is_mirrored(points * (-1, 1) @ matrix.T)
        assert not is_mirrored((points * (-1, 1) @ matrix.T)[FLIP_POINTS])
    assert not is_mirrored(points * (0, 1))  # in profile


def row(points: np.ndarray, path: str) -> str:
    numbers = spread(points, wflw.POINTS, 98).ravel().tolist()
    return " ".join(map(str, [*numbers, 1, 2, 60, 61, 0, 0, 1, 0, 0, 0, path])) + "\n"


def test_wflw_lists_an_image_once_for_each_face(tmp_path):
    root, lists = tmp_path / "set", tmp_path / "set/WFLW_annotations/list_98pt_rect_attr_train_test"
    for name in ("0--Parade/a.jpg", "1--Handshaking/b.jpg"):
        write_image(root / "WFLW_images" / name)
    short = row(face(), "0--Parade/a.jpg").replace(" 60 61 ", " 60 ")
    text(
        lists / "list_98pt_rect_attr_train.txt",
        row(face(), "0--Parade/a.jpg") + row(face() + 9, "0--Parade/a.jpg") + short,
    )
    text(lists / "list_98pt_rect_attr_test.txt", row(face(), "1--Handshaking/b.jpg"))
    splits, aside = prepared(tmp_path, "wflw")
    assert [sample.image.name for sample in splits["train"]] == ["a.jpg", "a.jpg"]
    assert [sample.image.name for sample in splits["test"]] == ["b.jpg"]
    for sample, points in zip(splits["train"], (face(), face() + 9), strict=True):
        assert sample.mask is None
        assert read_points(sample.points) == pytest.approx(points[None], abs=1e-3)
    assert "list_98pt_rect_attr_train.txt:3 has 206 values" in aside


# a plain folder, and all


def write_folder(root: Path, order: list[int]) -> None:
    for i in range(3):
        write_image(root / f"images/{i}.jpg")
        save(root / f"labels/{i}.png", np.array(order, np.uint8)[person()])


@pytest.mark.parametrize("order", [BISENET, FARL, list(range(19))])
def test_a_plain_folder_names_its_classes(tmp_path, order):
    write_folder(tmp_path / "set", order)
    classes = {order[i]: name for i, name in enumerate(CLASSES)} | {order[Region.CLOTH]: "ignore"}
    splits, aside = prepared(tmp_path, "folder", classes=classes)
    assert aside == "image,problems\n"
    expected = np.where(person() == Region.CLOTH, IGNORE, person())
    assert (read_mask(splits["train"][0].mask) == expected).all()


@pytest.mark.parametrize(
    ("order", "phrase"),
    [
        (BISENET, "l_eye is below nose"),
        (FARL, "nose is larger than skin"),
        (SYNTHETICS, "r_brow is below r_eye"),
    ],
)
def test_classes_of_another_order_are_refused(tmp_path, order, phrase):
    write_folder(tmp_path / "set", order)
    with pytest.raises(SystemExit, match="its ids stand for other classes") as stopped:
        prepared(tmp_path, "celebamask")
    assert phrase in str(stopped.value)


def test_a_class_that_no_mask_shows_is_refused_unless_ignored(tmp_path):
    order = [0 if i in (Region.NOSE, Region.U_LIP) else i for i in range(19)]
    write_folder(tmp_path / "set", order)
    with pytest.raises(SystemExit, match="no mask shows nose, no mask shows u_lip; label it, or"):
        prepared(tmp_path, "celebamask")
    order = [IGNORE if i in (Region.NOSE, Region.U_LIP) else i for i in range(19)]
    write_folder(tmp_path / "set", order)
    assert len(prepared(tmp_path, "celebamask")[0]["train"]) == 3
    # or where the dataset has no such class
    write_folder(tmp_path / "set", [0, *[i % 4 for i in range(1, 19)]])
    classes = {0: "background", 1: "skin", 2: "ignore", 3: "ignore"}
    assert len(prepared(tmp_path, "folder", classes=classes)[0]["train"]) == 3


def test_one_mask_that_shows_a_class_is_enough(tmp_path):
    write_folder(tmp_path / "set", [0 if i == Region.NOSE else i for i in range(19)])
    write_image(tmp_path / "set/images/nose.jpg")
    save(tmp_path / "set/labels/nose.png", person())
    assert len(prepared(tmp_path, "celebamask")[0]["train"]) == 4


@pytest.mark.parametrize("first", [0, 1])
def test_one_based_points_are_refused_where_masks_show_the_eyes(tmp_path, first):
    for seed in (0, 2, 4):  # of one face each
        drawn = synthetic.draw(seed)
        save(tmp_path / f"set/images/{seed}.png", drawn.image)
        save(tmp_path / f"set/labels/{seed}.png", drawn.mask)
        text(tmp_path / f"set/landmarks/{seed}.txt", "68\n" + lines(drawn.points[0] + first))
    if not first:
        assert len(prepared(tmp_path, "starter")[0]["train"]) == 3
        return
    with pytest.raises(SystemExit, match="a pixel right of and below the eyes; subtract 1 from each"):
        prepared(tmp_path, "starter")


def test_points_that_are_no_numbers_are_set_aside(tmp_path):
    write_folder(tmp_path / "set", list(range(19)))
    points = face()
    text(tmp_path / "set/landmarks/0.txt", "68\n" + lines(points))
    points[5] = np.nan
    text(tmp_path / "set/landmarks/1.txt", "68\n" + lines(points))
    splits, aside = prepared(tmp_path, "celebamask")
    assert [sample.image.stem for sample in splits["train"]] == ["0", "2"]
    assert "1.txt has points that are no numbers" in aside


def test_files_that_a_format_lacks_are_named(tmp_path):
    write_image(tmp_path / "set/CelebA-HQ-img/0.jpg")
    with pytest.raises(SystemExit, match="idx orig_idx orig_file"):
        prepared(tmp_path, "celebamask_parts")
    with pytest.raises(SystemExit, match="expected: "):
        prepared(tmp_path, "wflw")


def test_an_id_without_a_class_is_named(tmp_path):
    save(tmp_path / "mask.png", np.array([[0, 1, 7, 9]], np.uint8))
    with pytest.raises(ValueError, match=r"ids \[7, 9\].*\[0, 1\]"):
        read_ids(tmp_path / "mask.png", {0: Region.BACKGROUND, 1: Region.SKIN})


def test_settings_take_classes_for_a_plain_folder_only():
    with pytest.raises(ValidationError, match="needs classes"):
        Dataset(format="folder", path="x")
    with pytest.raises(ValidationError, match="no other format takes them"):
        Dataset(format="lapa", path="x", classes={0: "background"})
    with pytest.raises(ValidationError, match=r"left_brow is not a class.* l_brow,"):
        Dataset(format="folder", path="x", classes={0: "left_brow"})
    with pytest.raises(ValidationError, match="greater than 0"):
        Dataset(format="lapa", path="x", weight=0)


@pytest.mark.parametrize("module", [celebamask_parts, face_synthetics, helen_star, lapa, pts300w, wflw])
def test_an_empty_folder_names_the_expected_layout(tmp_path, module):
    write_mapping(tmp_path, {0: 0})
    with pytest.raises(FileNotFoundError, match="expected: "):
        module.samples(tmp_path)


def test_landmark_files_that_are_missing_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.pts.*106, 106 times x y"):
        read_xy(tmp_path / "none.pts", 106, before=("106",))


def test_the_two_meanings_of_left_in_lapa_differ_by_a_flip():
    assert [FLIP[lapa.VIEWERS[i]] for i in range(1, 11)] == [lapa.SUBJECTS[i] for i in range(1, 11)]
    assert lapa.VIEWERS[2] == Region.R_BROW and lapa.SUBJECTS[2] == Region.L_BROW
