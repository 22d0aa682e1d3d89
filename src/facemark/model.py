"""The parsing network: build, save, load. Nothing else knows what a weights file holds."""

import json
import time
from functools import cache
from pathlib import Path
from pickle import UnpicklingError

import segmentation_models_pytorch as smp
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from facemark.labels import CLASSES

ENCODER = "resnet50"
STRIDE = 32
"""Height and width of the network's input must be multiples of this many pixels."""


class ParsingNet(nn.Module):
    """U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) with a ResNet50 encoder.

    Takes N × 3 × H × W RGB in 0–255 (uint8 or float) and answers N × 19 × H × W logits in float32;
    the normalisation is inside, so there is nothing to get wrong outside.
    """

    def __init__(self, encoder_weights: str | None = None):
        super().__init__()
        self.unet = smp.Unet(ENCODER, encoder_weights=encoder_weights, classes=len(CLASSES))
        self.register_buffer("mean", 255 * torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Answer the logits of a batch; height and width must be multiples of :data:`STRIDE`."""
        x = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.unet(x).float()


def build(encoder_weights: str = "none") -> ParsingNet:
    """Make an untrained network, its encoder started from ``encoder_weights``.

    ``none`` is a random start, ``imagenet`` downloads torchvision's ImageNet weights, anything else is the path of
    a state dict of a torchvision ResNet50.

    Raises:
        FileNotFoundError: the path does not exist.
        ConnectionError: ``imagenet`` was asked for and could not be downloaded.
        ValueError: the file is not a ResNet50's.
    """
    if encoder_weights == "none":
        return ParsingNet()
    if encoder_weights == "imagenet":
        try:
            return ParsingNet("imagenet")
        except Exception as error:  # the hub client raises its own, changing types
            raise ConnectionError(
                "encoder_weights: imagenet needs a download that failed; set train.encoder_weights to none, "
                "or to the path of a ResNet50 state dict fetched elsewhere"
            ) from error
    if not Path(encoder_weights).is_file():
        raise FileNotFoundError(f"train.encoder_weights: there is no file {encoder_weights}; give none or imagenet")
    network = ParsingNet()
    try:
        state = torch.load(encoder_weights, map_location="cpu", weights_only=True)
        network.unet.encoder.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    except (RuntimeError, AttributeError, UnpicklingError, EOFError) as error:
        raise ValueError(f"{encoder_weights} is not the state dict of a ResNet50") from error
    return network


def product_time(dtype: torch.dtype) -> float:
    """Processor seconds that one thread takes for the product of two matrices of 512 × 512, the best of some tries.

    Not the clock's: by that, what else the machine does would decide on the number format.
    """
    matrix, times, threads = torch.ones(512, 512, dtype=dtype), [], torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(5):
        start = time.thread_time()
        matrix @ matrix
        times.append(time.thread_time() - start)
    torch.set_num_threads(threads)
    return min(times)


@cache
def precision(device: str) -> torch.dtype:
    """The number format to train in on a type of device: on GPUs bf16, whose range is fp32's, or fp16 if they lack it.

    On CPUs bf16 where it is clearly faster than fp32. That is measured, because some processors that have instructions
    for bf16 are slower in it; near the same speed, chance would choose, and two trainings from one seed would differ.
    """
    if device == "cpu":
        return torch.bfloat16 if 1.25 * product_time(torch.bfloat16) < product_time(torch.float32) else torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def save(network: ParsingNet, path: Path | str, size: int) -> None:
    """Write the weights in fp16 as safetensors; ``size`` is the input side in pixels that they were trained for.

    What batch normalisation has seen stays in fp32: its variances reach beyond the largest number of fp16.
    """
    state = {
        k: v if "running_" in k or not v.is_floating_point() else v.half() for k, v in network.state_dict().items()
    }
    state = {k: v.contiguous().cpu() for k, v in state.items()}
    save_file(state, path, metadata={"classes": json.dumps(CLASSES), "size": str(size), "encoder": ENCODER})


def load(path: Path | str) -> tuple[ParsingNet, int]:
    """Read weights written by :func:`save`; answers the network in fp32, eval mode, and its input side in pixels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a Facemark weights file, or its classes are others than ours.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}; fetch the released ones with: dvc pull weights.dvc")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file; weights are written by the train stage") from error
    if json.loads(metadata.get("classes", "[]")) != list(CLASSES):
        raise ValueError(f"{path} was trained for other classes; train again with this version of Facemark")
    network = ParsingNet()
    network.load_state_dict(state)
    return network.eval(), int(metadata["size"])
