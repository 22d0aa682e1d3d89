"""The network on the CPU, by OpenVINO: in bf16 where the processor is made for it, else in fp32."""

import warnings

import numpy as np
import openvino
import torch

from facemark.inference.backends.base import pad_to_stride
from facemark.models.unet import STRIDE, SoftmaxNet

CORE = openvino.Core()
"""One for the whole process. Where processors have AMX, each sets a stack for signals in its thread. When it goes, it
restores that of the one before, which may be gone, or leaves its own in another thread: the next signal then ends the
process without a word."""


class OpenVinoBackend:
    """Runs one image on each core."""

    device = "cpu"

    def __init__(self, network: SoftmaxNet):
        example = torch.zeros(1, STRIDE, STRIDE, 3, dtype=torch.uint8)
        with warnings.catch_warnings(action="ignore"):  # tracing warns of the check of the input's shape
            converted = openvino.convert_model(
                network, example_input=example, input=[openvino.PartialShape([1, -1, -1, 3])]
            )
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = CORE.compile_model(converted, "CPU", settings)
        self.precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self._queue = openvino.AsyncInferQueue(compiled)
        self._queue.set_callback(self._keep)

    def __call__(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """See :class:`facemark.inference.backends.base.Backend`."""
        probabilities: list = [None] * len(images)
        for i, image in enumerate(images):
            self._queue.start_async([pad_to_stride(image)[None]], (probabilities, i, image.shape))
        self._queue.wait_all()
        return probabilities

    @staticmethod
    def _keep(request: openvino.InferRequest, job: tuple[list, int, tuple[int, ...]]) -> None:
        probabilities, i, (height, width, _) = job
        probabilities[i] = request.get_output_tensor().data[0, :, :height, :width].copy()
