import subprocess
import sys

import numpy as np
import pytest
import torch

from facemark.data import synthetic
from facemark.inference.backends import create_backend
from facemark.inference.backends.base import MAX_BATCH, batches
from facemark.inference.backends.openvino import OpenVinoBackend
from facemark.inference.backends.torch import TorchBackend
from facemark.labels import CLASSES
from facemark.models import bundle
from facemark.models.unet import SoftmaxNet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def looks(untrained):
    return SoftmaxNet(bundle.load_network(untrained[0])[0])


@pytest.mark.parametrize("make", [OpenVinoBackend, lambda looks: TorchBackend(looks, CPU)], ids=["cpu", "gpu"])
def test_pictures_of_any_sizes_are_answered_in_their_order(looks, make):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in [(40, 70), (64, 64), (40, 70), (1, 1)]]
    answers = make(looks)(images)
    assert [each.shape for each in answers] == [(len(CLASSES), *image.shape[:2]) for image in images]
    with torch.inference_mode():
        alone = looks(torch.from_numpy(images[1][None]))[0].numpy()
    assert answers[1] == pytest.approx(alone, abs=0.1)
    assert all(each.sum(0) == pytest.approx(1, abs=0.01) for each in answers)
    assert not np.allclose(answers[0], answers[2], atol=1e-4)


def test_a_gpu_takes_pictures_of_one_size_together():
    shapes = [(2, 2), (3, 3), (2, 2), *[(3, 3)] * MAX_BATCH]
    assert list(batches(shapes)) == [[0, 2], [1, *range(3, MAX_BATCH + 2)], [MAX_BATCH + 2]]


def test_half_precision_changes_few_pixels(released):
    network = bundle.load_network(released[0])[0]
    images = [synthetic.draw(seed).image[:256, :256] for seed in range(6)]
    fast = [regions.argmax(0) for regions in create_backend(network, CPU)(images)]
    with torch.inference_mode():
        exact = [SoftmaxNet(network)(torch.from_numpy(image[None].copy()))[0].argmax(0).numpy() for image in images]
    agreement = np.mean([np.mean(one == other) for one, other in zip(fast, exact, strict=True)])
    assert agreement >= 0.995


def test_a_signal_finds_its_stack_whichever_engine_went_first():
    code = """if True:
        import signal
        import torch
        from facemark import engine, model
        first, second = (engine.engine(model.build().eval(), torch.device("cpu")) for _ in range(2))
        del first
        del second
        signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
        signal.raise_signal(signal.SIGUSR1)
    """
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
