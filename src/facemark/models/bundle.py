"""A model as a folder: ``config.json`` says what the network is, the weight files beside it say what it learned."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from facemark import __version__
from facemark.labels import CLASSES
from facemark.models.unet import ParsingNet
from facemark.settings import Network

CONFIG, WEIGHTS, LANDMARKS = "config.json", "model.safetensors", "landmarks.npz"
"""Names of a bundle's files."""
LICENCE = "code MIT; weights for non-commercial research only, as are those fine-tuned from the released ones"
LEGACY_DECODER = (256, 128, 64, 32, 16)
LEGACY_PREFIX = "unet."
"""Of the names in weights written up to 0.7.0."""


class BundleConfig(BaseModel):
    """The content of ``config.json``: everything that loading a bundle depends on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Network
    classes: tuple[str, ...]
    """Names of the network's output channels, in their order."""
    input_size: int
    """Side in pixels of the crops that the network was trained for."""
    landmarks: dict[str, str] = {}
    """The file of the landmark model of each mode."""
    version: str
    """Of Facemark, when the bundle was written."""
    licence: str = LICENCE
    sha256: dict[str, str]
    """Of each file."""


@dataclass(frozen=True)
class ModelBundle:
    """A bundle on disk; opening it reads its config alone."""

    folder: Path
    config: BundleConfig

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a bundle's folder, or weights written up to 0.7.0, which have no config.

        Args:
            path: the folder, or the file of the weights in it.

        Raises:
            FileNotFoundError: there are no weights.
            ValueError: the files are not Facemark's, or were trained for other classes.
        """
        weights = Path(path) if Path(path).suffix == Path(WEIGHTS).suffix else Path(path, WEIGHTS)
        if not weights.is_file():
            raise FileNotFoundError(f"no weights at {weights}; fetch the released ones with: dvc pull weights.dvc")
        file = weights.with_name(CONFIG)
        try:
            config = BundleConfig.model_validate_json(file.read_text()) if file.is_file() else _legacy(weights)
        except ValidationError as error:
            raise ValueError(f"{file} is not the config of a bundle: {error.errors()[0]['msg']}") from error
        if config.classes != CLASSES:
            raise ValueError(f"{weights} was trained for other classes; train again with this version of Facemark")
        return cls(weights.parent, config)

    @property
    def weights(self) -> Path:
        """The network's weights, safetensors."""
        return self.folder / WEIGHTS

    @property
    def landmarks(self) -> Path | None:
        """The landmark model; None where there is none yet."""
        if not self.config.landmarks:
            return None
        return self._verified(self.config.landmarks[next(iter(self.config.landmarks))])

    def network(self) -> ParsingNet:
        """The network in fp32, in eval mode.

        Raises:
            ValueError: the weights are not those of the config.
        """
        file = self._verified(WEIGHTS)
        try:
            state = {name.removeprefix(LEGACY_PREFIX): values for name, values in load_file(file).items()}
            network = ParsingNet(self.config.network)
            network.net.load_state_dict(state)
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(f"{file} does not hold the weights of the network in its {CONFIG}") from error
        return network.eval()

    def files(self) -> list[Path]:
        """All files of the bundle."""
        found = [CONFIG, WEIGHTS, *self.config.landmarks.values()]
        return [self.folder / name for name in found if (self.folder / name).is_file()]

    def _verified(self, name: str) -> Path:
        file, expected = self.folder / name, self.config.sha256.get(name)
        if expected and sha256(file) != expected:
            raise ValueError(f"{file} is not the file that its {CONFIG} describes; fetch or train the model again")
        return file


def _legacy(weights: Path) -> BundleConfig:
    """The config of weights that say in their own header what they are, with a landmark model beside them."""
    try:
        with safe_open(weights, "pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{weights} is not a safetensors file; weights are written by the train stage") from error
    landmarks = {"accurate": LANDMARKS} if weights.with_name(LANDMARKS).is_file() else {}
    return BundleConfig(
        network=Network(
            architecture="Unet", encoder=header.get("encoder", "resnet50"), decoder_channels=LEGACY_DECODER
        ),
        classes=tuple(json.loads(header.get("classes", "[]"))),
        input_size=int(header.get("size", 0)),
        landmarks=landmarks,
        version="0.7.0",
        sha256={},
    )


def save_network(network: ParsingNet, config: Network, input_size: int, folder: Path) -> ModelBundle:
    """Write a bundle without a landmark model; weights are fp16.

    What batch normalisation has seen stays in fp32: its variances reach beyond the largest number of fp16.

    Args:
        network: to be written.
        config: what it was built by.
        input_size: side in pixels that it was trained for.
        folder: made if need be.
    """
    state = {
        name: values if "running_" in name or not values.is_floating_point() else values.half()
        for name, values in network.net.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: values.contiguous().cpu() for name, values in state.items()}, folder / WEIGHTS)
    return _write_config(folder, BundleConfig(
        network=config, classes=CLASSES, input_size=input_size, version=__version__,
        sha256={WEIGHTS: sha256(folder / WEIGHTS)},
    ))  # fmt: skip


def add_landmarks(bundle: ModelBundle, landmarks: Path, folder: Path) -> ModelBundle:
    """Write a bundle's network, together with a landmark model, as a bundle in another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for source, target in ((bundle.weights, folder / WEIGHTS), (landmarks, folder / LANDMARKS)):
        if source != target:
            shutil.copy(source, target)
    return _write_config(folder, bundle.config.model_copy(update={
        "landmarks": {"accurate": LANDMARKS},
        "sha256": {name: sha256(folder / name) for name in (WEIGHTS, LANDMARKS)},
    }))  # fmt: skip


def _write_config(folder: Path, config: BundleConfig) -> ModelBundle:
    (folder / CONFIG).write_text(config.model_dump_json(indent=1) + "\n")
    return ModelBundle(folder, config)


def sha256(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
