"""The network on a device: OpenVINO on the CPU, torch on a GPU, behind one interface.

Nothing outside this folder knows which of them runs.
"""

from facemark.inference.backends.base import Backend
from facemark.inference.backends.openvino import OpenVinoBackend
from facemark.inference.backends.torch import TorchBackend
from facemark.models.bundle import ModelBundle
from facemark.models.unet import SoftmaxNet

__all__ = ["Backend", "create_backend"]


def create_backend(bundle: ModelBundle, device: str | None = None) -> Backend:
    """Make a bundle's network ready for a device: ``cpu`` or a torch device, by default a GPU where there is one."""
    import torch  # in here, since a module of this folder has the same name

    network = SoftmaxNet(bundle.network())
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return OpenVinoBackend(network) if target.type == "cpu" else TorchBackend(network, target)
