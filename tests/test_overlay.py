import numpy as np

from facemark import overlay
from facemark.labels import COLORS, Region
from facemark.parser import Face, Parse


def test_background_stays_and_regions_are_tinted():
    image = np.full((4, 6, 3), 100, np.uint8)
    mask = np.zeros((4, 6), np.uint8)
    mask[:, 3:] = Region.HAIR
    drawn = overlay.draw(image, Parse(mask, []))
    assert (drawn[:, :3] == 100).all()
    expected = (1 - overlay.OPACITY) * 100 + overlay.OPACITY * COLORS[Region.HAIR].astype(float)
    assert np.abs(drawn[0, 5] - expected).max() <= 1
    assert (image == 100).all()


def test_points_are_coloured_by_their_score():
    points = np.stack(np.meshgrid(np.linspace(20, 380, 17), np.linspace(20, 280, 4)), -1).reshape(68, 2)
    scores = np.linspace(0, 1, 68)
    face = Face(np.r_[points.min(0), points.max(0)], 1.0, points, scores, points[:2], points[2], {})
    image = np.zeros((300, 400, 3), np.uint8)
    drawn = overlay.draw(image, Parse(np.zeros((300, 400), np.uint8), [face]))
    first, last = (drawn[round(y), round(x)] for x, y in (points[0], points[-1]))
    assert first[0] > 200 > first[1]
    assert last[1] > 200 > last[0]
