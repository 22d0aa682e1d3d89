"""The network as it runs in production: OpenVINO on the CPU, half precision on a GPU."""

import warnings
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import openvino
import torch
from torch import nn

from facemark.model import STRIDE, ParsingNet

BATCH = 16
"""Pictures of one size that a GPU takes at once."""
CORE = openvino.Core()
"""One for all, and for good. Where processors have AMX, each sets a stack for signals in its thread, and when it goes
restores that of the one before, which may be gone by then, or leaves its own there if it goes in another thread: then
the next signal ends the process without a word."""


class Probabilities(nn.Module):
    """N × H × W × 3 uint8 in, N × 19 × H × W probabilities out."""

    def __init__(self, network: ParsingNet):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Answer the probabilities of a batch; height and width must be multiples of STRIDE."""
        return self.network(images.permute(0, 3, 1, 2)).softmax(1)


class Engine(Protocol):
    """The network, ready for a device."""

    precision: str
    """The number format that it computes in: bf16, f16 or f32."""

    def __call__(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """H × W × 3 RGB uint8 pictures of any sizes in, 19 × H × W float32 probabilities of each out."""


def engine(network: ParsingNet, device: torch.device) -> Engine:
    """Make a network ready for a device."""
    looks = Probabilities(network)
    return CpuEngine(looks) if device.type == "cpu" else GpuEngine(looks, device)


def padded(image: np.ndarray) -> np.ndarray:
    """A picture with black below and to the right, up to multiples of STRIDE."""
    return np.pad(image, [*((0, -length % STRIDE) for length in image.shape[:2]), (0, 0)])


class CpuEngine:
    """Looks at as many pictures side by side as there are cores for, in bf16 where the processor is made for it."""

    def __init__(self, looks: Probabilities):
        example = torch.zeros(1, STRIDE, STRIDE, 3, dtype=torch.uint8)
        with warnings.catch_warnings(action="ignore"):  # tracing warns of the check of the input's shape
            converted = openvino.convert_model(
                looks, example_input=example, input=[openvino.PartialShape([1, -1, -1, 3])]
            )
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = CORE.compile_model(converted, "CPU", settings)
        self.precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.queue = openvino.AsyncInferQueue(compiled)
        self.queue.set_callback(self._keep)

    def __call__(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """See :class:`Engine`."""
        found: list = [None] * len(images)
        for i, image in enumerate(images):
            self.queue.start_async([padded(image)[None]], (found, i, image.shape))
        self.queue.wait_all()
        return found

    @staticmethod
    def _keep(request: openvino.InferRequest, job: tuple[list, int, tuple[int, ...]]) -> None:
        found, i, (height, width, _) = job
        found[i] = request.get_output_tensor().data[0, :, :height, :width].copy()


class GpuEngine:
    """Looks at all pictures of one size at once; resizing apart, all of it happens on the device."""

    def __init__(self, looks: Probabilities, device: torch.device):
        self.looks, self.device = looks.to(device, memory_format=torch.channels_last), device
        self.precision = "f16"

    def __call__(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """See :class:`Engine`."""
        found: list = [None] * len(images)
        for batch in batches([image.shape for image in images]):
            regions = self._look(np.stack([padded(images[i]) for i in batch]))
            height, width = images[batch[0]].shape[:2]
            for i, each in zip(batch, regions[:, :, :height, :width], strict=True):
                found[i] = each
        return found

    @torch.inference_mode()
    def _look(self, images: np.ndarray) -> np.ndarray:
        with torch.autocast(self.device.type, torch.float16):
            return self.looks(torch.from_numpy(images).to(self.device)).float().cpu().numpy()


def batches(shapes: list[tuple[int, ...]]) -> Iterator[list[int]]:
    """Places of equal shapes, at most BATCH together."""
    for shape in dict.fromkeys(shapes):
        same = [i for i, each in enumerate(shapes) if each == shape]
        yield from (same[i : i + BATCH] for i in range(0, len(same), BATCH))
