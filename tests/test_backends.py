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
from facemark.models.bundle import ModelBundle
from facemark.models.unet import SoftmaxNet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network(untrained):
    return SoftmaxNet(ModelBundle.open(untrained).network())


@pytest.mark.parametrize("make", [OpenVinoBackend, lambda net: TorchBackend(net, CPU)], ids=["openvino", "torch"])
def test_images_of_any_sizes_come_back_in_their_order(network, make):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in [(40, 70), (64, 64), (40, 70), (1, 1)]]
    found = make(network)(images)
    assert [each.shape for each in found] == [(len(CLASSES), *image.shape[:2]) for image in images]
    with torch.inference_mode():
        alone = network(torch.from_numpy(images[1][None]))[0].numpy()
    assert found[1] == pytest.approx(alone, abs=0.1)
    assert all(each.sum(0) == pytest.approx(1, abs=0.01) for each in found)
    assert not np.allclose(found[0], found[2], atol=1e-4)


def test_images_of_one_size_go_together():
    shapes = [(2, 2), (3, 3), (2, 2), *[(3, 3)] * MAX_BATCH]
    assert list(batches(shapes)) == [[0, 2], [1, *range(3, MAX_BATCH + 2)], [MAX_BATCH + 2]]


@pytest.mark.slow
def test_half_precision_changes_few_pixels(released):
    bundle = ModelBundle.open(released)
    network = SoftmaxNet(bundle.network())
    images = [synthetic.draw(seed).image[:256, :256] for seed in range(6)]
    fast = [probabilities.argmax(0) for probabilities in create_backend(bundle, "cpu")(images)]
    with torch.inference_mode():
        exact = [network(torch.from_numpy(image[None].copy()))[0].argmax(0).numpy() for image in images]
    agreement = np.mean([np.mean(one == other) for one, other in zip(fast, exact, strict=True)])
    assert agreement >= 0.995


def test_a_signal_finds_its_stack_whichever_backend_ended_first(untrained):
    code = """if True:
        import signal, sys
        from facemark.inference.backends import create_backend
        from facemark.models.bundle import ModelBundle
        first, second = (create_backend(ModelBundle.open(sys.argv[1]), "cpu") for _ in range(2))
        del first
        del second
        signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
        signal.raise_signal(signal.SIGUSR1)
    """
    command = [sys.executable, "-X", "faulthandler", "-c", code, untrained]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
