"""Holds what the released weights find to the stored numbers, which ``golden.py`` wrote."""

import json

import golden
import numpy as np
import pytest

POINT, SCORE, PIXELS = 0.1, 0.01, 0.002
"""Tolerances, which hold on any processor in fp32: in pixels, of a score, and of a picture's pixels."""
STORED = json.loads(golden.FILE.read_text())


@pytest.fixture(scope="module")
def parses(released):
    if golden.weights_sha256() != STORED["weights"]:
        pytest.skip("the numbers are of other weights; write them anew with: python tests/golden.py")
    return golden.parses()


@pytest.mark.parametrize("name", STORED["pictures"])
def test_the_released_weights_find_what_they_did(parses, name):
    found, stored = golden.figures(parses[name]), STORED["pictures"][name]
    assert len(found["faces"]) == len(stored["faces"])
    for face, expected in zip(found["faces"], stored["faces"], strict=True):
        for key, tolerance in (("box", POINT), ("points", POINT), ("score", SCORE), ("scores", SCORE)):
            np.testing.assert_allclose(face[key], expected[key], rtol=0, atol=tolerance, err_msg=key)
    counts, expected = (np.array(list(each["pixels"].values())) for each in (found, stored))
    assert found["pixels"].keys() == stored["pixels"].keys()
    assert np.abs(counts - expected).max() <= PIXELS * counts.sum()
