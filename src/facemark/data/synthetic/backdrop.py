"""Random cluttered backgrounds."""

import cv2
import numpy as np

from facemark.data.synthetic.shapes import blur, noise, tint


def backdrop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a random cluttered background without a face: H × W × 3 RGB uint8."""
    vivid = rng.random() ** 2

    def color() -> np.ndarray:
        grey = rng.uniform(0, 255)
        return np.clip(grey + vivid * rng.uniform(-200, 200, 3) + rng.normal(0, 12, 3), 0, 255)

    start, end = color(), color()
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ramp = 0.5 + ((x / width - 0.5) * np.cos(turn) + (y / height - 0.5) * np.sin(turn)) / 1.5
    image = (start + ramp[..., None] * (end - start)).astype(np.uint8)
    size = max(height, width)
    for _ in range(int(rng.integers(0, 25))):
        paint, at = color().tolist(), rng.uniform(-0.1, 1.1, 2) * (width, height)
        extent = size * rng.gamma(2, 0.06, 2) + 2
        angle, kind = rng.uniform(0, 360), rng.integers(4)
        corners = cv2.boxPoints((at.tolist(), extent.tolist(), angle)).astype(np.int32)
        if kind == 0:
            cv2.fillPoly(image, [corners], paint, cv2.LINE_AA)
        elif kind == 1:
            cv2.ellipse(image, (at.tolist(), extent.tolist(), angle), paint, -1, cv2.LINE_AA)
        elif kind == 2:
            cv2.line(image, corners[0].tolist(), (corners[2] * 2 - corners[0]).tolist(), paint, int(rng.integers(1, 9)))
        else:
            text = "".join(rng.choice(list("ABCDEFGHKLMNOPRSTUW0123456789"), 5))
            cv2.putText(
                image, text, at.astype(int).tolist(), int(rng.integers(0, 8)), size / 300, paint, 3, cv2.LINE_AA
            )
    for _ in range(int(rng.integers(0, 3))):
        patches = noise(rng, height, width, size * rng.uniform(0.02, 0.4), 4) > rng.uniform(0, 1)
        image = tint(image, blur(patches.astype(np.float32), 1) * rng.random(), color())
    image = blur(image.astype(np.float32), rng.choice([0.3, 1.5, 4, 9]) * size / 300)
    image *= 1 + 0.15 * rng.random() * noise(rng, height, width, size / 4, 6)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)
