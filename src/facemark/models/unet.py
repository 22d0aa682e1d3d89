"""The parsing network: any of segmentation-models-pytorch, by default a U-Net with a ResNet50 encoder."""

from pathlib import Path
from pickle import UnpicklingError

import segmentation_models_pytorch as smp
import torch
from torch import nn

from facemark.labels import CLASSES
from facemark.settings import Network

STRIDE = 32
"""Height and width of the network's input must be multiples of this many pixels."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's RGB in 0–1, which encoders expect."""


class ParsingNet(nn.Module):
    """A segmentation network that takes raw pixels: the normalisation is inside.

    The default is a U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) with a ResNet50 encoder.

    Raises:
        ValueError: segmentation-models-pytorch cannot build this network.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: Network, encoder_weights: str | None = None):
        super().__init__()
        decoder = {"decoder_channels": config.decoder_channels} if config.decoder_channels else {}
        try:
            self.net = smp.create_model(
                config.architecture, config.encoder, encoder_weights, classes=len(CLASSES), **decoder
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"train.network: segmentation-models-pytorch cannot build {config.architecture} with {config.encoder}: "
                f"{error}"
            ) from error
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch.

        Args:
            images: N × 3 × H × W RGB in 0–255, uint8 or float; H and W are multiples of :data:`STRIDE`.

        Returns:
            N × 19 × H × W float32.
        """
        x = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.net(x).float()


class SoftmaxNet(nn.Module):
    """A parsing network as inference runs it: N × H × W × 3 uint8 in, N × 19 × H × W probabilities out."""

    def __init__(self, network: ParsingNet):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities of a batch; height and width must be multiples of :data:`STRIDE`."""
        return self.network(images.permute(0, 3, 1, 2)).softmax(1)


def build(config: Network, encoder_weights: str = "none") -> ParsingNet:
    """Make an untrained network, its encoder started from ``encoder_weights``.

    Args:
        config: architecture, encoder and decoder.
        encoder_weights: ``none``, a random start; ``imagenet``, which downloads; or the path of the encoder's state
            dict, as torchvision writes a ResNet50's.

    Raises:
        FileNotFoundError: the path does not exist.
        ConnectionError: ``imagenet`` was asked for and could not be downloaded.
        ValueError: the file is not that encoder's, or the network cannot be built.
    """
    if encoder_weights == "none":
        return ParsingNet(config)
    if encoder_weights == "imagenet":
        return _with_imagenet(config)
    if not Path(encoder_weights).is_file():
        raise FileNotFoundError(f"train.encoder_weights: there is no file {encoder_weights}; give none or imagenet")
    network = ParsingNet(config)
    try:
        state = torch.load(encoder_weights, map_location="cpu", weights_only=True)
        network.net.encoder.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    except (RuntimeError, AttributeError, UnpicklingError, EOFError) as error:
        raise ValueError(f"{encoder_weights} is not the state dict of a {config.encoder}") from error
    return network


def _with_imagenet(config: Network) -> ParsingNet:
    ParsingNet(config)  # says what is wrong with it before anything is downloaded
    try:
        return ParsingNet(config, "imagenet")
    except Exception as error:  # the hub client raises its own, changing types
        raise ConnectionError(
            "encoder_weights: imagenet needs a download that failed; set train.encoder_weights to none, "
            f"or to the path of a {config.encoder} state dict fetched elsewhere"
        ) from error
