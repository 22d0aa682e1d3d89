"""The schema of ``params.yaml``: a section for each stage, for promotion and for sweeps. Checked before anything runs.

Also the paths of what the stages read and write.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from facemark.labels import CLASSES

PACKAGE = Path(__file__).parent
"""The folder of the package's code."""
PREPARED = Path("build/prepare")
"""Folder in which the stage ``prepare`` writes a folder with an index for each dataset."""
TRAINED = Path("build/train")
"""The bundle that the stage ``train`` writes. It has no landmark model yet."""
BUILT = Path("build/model")
"""The complete bundle, which the stage ``calibrate`` writes."""
EVALUATED = Path("build/evaluate")
"""Figures and plots of the stage ``evaluate``."""
RELEASED = Path("weights")
"""The released bundle, which ``dvc pull weights.dvc`` fetches."""
ARCHIVE = Path("build/facemark.mar")
"""What the stage ``archive`` packs, and ``facemark serve`` looks for."""
Share = Annotated[float, Field(ge=0, lt=1)]


def _class_name(name: str) -> str:
    if name not in (names := ("ignore", *CLASSES)):
        raise ValueError(f"{name} is not a class; the classes are {', '.join(names)}")
    return name


ClassName = Annotated[str, AfterValidator(_class_name)]


class Section(BaseModel):
    """Base of all sections. Unknown names are refused, so that a typing error never trains the wrong model."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dataset(Section):
    """A folder of training data and its format."""

    format: Literal[
        "starter",
        "celebamask",
        "celebamask_parts",
        "lapa",
        "helen_star",
        "face_synthetics",
        "landmarks68",
        "pts300w",
        "wflw",
        "folder",
    ]
    path: Path
    use: Annotated[tuple[Literal["parsing", "landmarks"], ...], Field(min_length=1)] = ("parsing", "landmarks")
    """What is trained on it: the parser, the landmark model, or both. Validation and evaluation use it either way."""
    weight: Annotated[float, Field(gt=0)] = 1
    """How often an image is shown in an epoch of the parser. At 0.5 half of them are shown, always the same ones."""
    classes: dict[Annotated[int, Field(ge=0, le=255)], ClassName] | None = None
    """Class name of each mask id, for ``format: folder`` only."""

    @model_validator(mode="after")
    def _only_a_folder_has_classes(self) -> Self:
        if bool(self.classes) != (self.format == "folder"):
            raise ValueError("format: folder needs classes, {id: name}, and no other format takes them")
        return self


class Splits(Section):
    """Shares of images drawn for validation and test, for a dataset without splits of its own."""

    val: Share
    test: Share


class Prepare(Section):
    """The datasets, and what to do with invalid samples."""

    datasets: dict[str, Dataset]
    splits: Splits
    bad_samples: Literal["refuse", "set_aside"]
    seed: int


class Phase(Section):
    """Some epochs of training at one input size."""

    size: Annotated[int, Field(gt=0, multiple_of=32)]
    """Side of the square input, in pixels."""
    epochs: Annotated[int, Field(gt=0)]
    unaugmented: Share = 0
    """Share of images that are at most flipped."""


class Network(Section):
    """A network of segmentation-models-pytorch (https://smp.readthedocs.io)."""

    architecture: str
    """``Unet``, ``FPN`` …"""
    encoder: str
    """``resnet50``, or an encoder of timm as ``tu-NAME``."""
    decoder_channels: tuple[Annotated[int, Field(gt=0)], ...] | None = None
    """Channels of the decoder's blocks, for architectures that take them. None: the default of the architecture."""


class Train(Section):
    """The network, its initial weights, its schedule, and the machines it is trained on."""

    start_from: str
    network: Network
    encoder_weights: str
    phases: Annotated[list[Phase], Field(min_length=1)]
    freeze_batchnorm: bool
    batch_size: Annotated[int, Field(gt=0)]
    repeat_rarer_than: Share
    learning_rate: Annotated[float, Field(gt=0)]
    warmup: Share
    weight_decay: Annotated[float, Field(ge=0)]
    ema_decay: Share
    clip: Annotated[float, Field(gt=0)]
    patience: Annotated[int, Field(gt=0)]
    seed: int
    workers: Annotated[int, Field(ge=0)]
    accelerator: str
    devices: int | str
    nodes: Annotated[int, Field(gt=0)]

    @model_validator(mode="after")
    def _nothing_to_freeze(self) -> Self:
        if self.start_from == "none" and self.freeze_batchnorm:
            raise ValueError("freeze_batchnorm: true needs weights in start_from; without, set it to false")
        return self


class Calibrate(Section):
    """The landmark model to start from."""

    start_from: str


class Evaluate(Section):
    """The split to report on."""

    split: Literal["train", "val", "test"]
    overlays: Annotated[int, Field(gt=0)]
    """Number of worst cases on the page of overlays."""
    robustness: Annotated[int, Field(ge=0)]
    """Number of images of each dataset that are also evaluated under each corruption. 0: skip robustness."""


class Archive(Section):
    """The archive for TorchServe."""

    version: str | None = None
    """Version in the archive's responses. None: the version of the package."""


class Promote(Section):
    """How much worse than the champion, on the same images, a challenger may be and still replace it.

    ``latency`` is a share of the champion's; all others are percentage points.
    """

    mean_f1: Annotated[float, Field(ge=0)]
    robustness: Annotated[float, Field(ge=0)]
    recall: Annotated[float, Field(ge=0)]
    nme: Annotated[float, Field(ge=0)]
    latency: Annotated[float, Field(ge=0)]


class Range(Section):
    """The range of a value in a sweep, sampled log-uniformly."""

    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low, {self.low}, is above high, {self.high}")
        return self


class Sweep(Section):
    """The phases of each trial, and the ranges of the values of ``train`` that are searched."""

    phases: Annotated[list[Phase], Field(min_length=1)]
    search: Annotated[dict[str, Range], Field(min_length=1)]

    @model_validator(mode="after")
    def _numbers_of_train(self) -> Self:
        numbers = [name for name, field in Train.model_fields.items() if field.annotation is float]
        if unknown := self.search.keys() - set(numbers):
            raise ValueError(f"{', '.join(unknown)} cannot be searched; these can: {', '.join(numbers)}")
        return self


class Params(Section):
    """The whole of ``params.yaml``."""

    prepare: Prepare
    train: Train
    calibrate: Calibrate
    evaluate: Evaluate
    archive: Archive
    promote: Promote
    sweep: Sweep

    def of_stages(self) -> dict:
        """The sections that a pipeline run depends on, in plain Python types."""
        return self.model_dump(mode="json", exclude={"promote", "sweep"})


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check the parameters.

    Raises:
        SystemExit: the file is not YAML, or has an unknown name or a value out of range. The message names it.
        OSError: the file cannot be read.
    """
    try:
        return Params.model_validate(yaml.safe_load(Path(path).read_text()))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SystemExit(f"{path}: {problems}") from error
    except yaml.YAMLError as error:
        raise SystemExit(f"{path} is not YAML: {error}") from error


def model_folder(folder: Path | str = ".") -> Path:
    """The bundle in a project's folder: the one that was built there, else the released one.

    Raises:
        FileNotFoundError: the folder contains neither.
    """
    for bundle in (BUILT, RELEASED):
        if Path(folder, bundle, "model.safetensors").is_file():
            return Path(folder, bundle)
    raise FileNotFoundError(
        f"there are no weights in {Path(folder).resolve()}; go to the project's folder and fetch the released ones "
        "with: dvc pull weights.dvc, or train: make repro"
    )
