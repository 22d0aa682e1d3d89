"""The shape of ``params.yaml``: one section a stage, and two beside them, checked before anything runs."""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from facemark.labels import CLASSES

PACKAGE = Path(__file__).parent
PREPARED = Path("build/prepare")
"""Where the stage ``prepare`` leaves each dataset's index."""
TRAINED = Path("build/train")
"""The bundle that the stage ``train`` leaves, which has no landmark model yet."""
BUILT = Path("build/model")
"""The bundle that the stage ``calibrate`` completes."""
EVALUATED = Path("build/evaluate")
"""Figures and plots of the stage ``evaluate``."""
RELEASED = Path("weights")
"""The released bundle, which ``dvc pull weights.dvc`` fetches."""
ARCHIVE = Path("build/facemark.mar")
"""What the stage ``archive`` packs, and ``facemark serve`` looks for."""
Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Refuses names it does not know, so that a typing error never trains the wrong model."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dataset(Section):
    """A folder and the format it is in.

    ``use`` says what learns from it, the parser, the landmark model or both. Its pictures are shown ``weight`` times
    as often as others; at 0.5, half of them are shown, always the same. ``classes`` say what the ids of a plain
    folder's masks mean.
    """

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
    weight: Annotated[float, Field(gt=0)] = 1
    classes: dict[Annotated[int, Field(ge=0, le=255)], Literal["ignore", *CLASSES]] | None = None

    @model_validator(mode="after")
    def _only_a_folder_has_classes(self) -> Self:
        if bool(self.classes) != (self.format == "folder"):
            raise ValueError("format: folder needs classes, {id: name}, and no other format takes them")
        return self


class Splits(Section):
    """Shares drawn for validation and test from a dataset that has no split of its own."""

    val: Share
    test: Share


class Prepare(Section):
    """What to read, and what to do with samples that are not sound."""

    datasets: dict[str, Dataset]
    splits: Splits
    bad_samples: Literal["refuse", "set_aside"]
    seed: int


class Phase(Section):
    """Some epochs of training at one input side (pixels, a multiple of 32); an ``unaugmented`` share stays as it is."""

    size: Annotated[int, Field(gt=0, multiple_of=32)]
    epochs: Annotated[int, Field(gt=0)]
    unaugmented: Share = 0


class Network(Section):
    """A network of segmentation-models-pytorch (https://smp.readthedocs.io)."""

    architecture: str
    """``Unet``, ``FPN`` …"""
    encoder: str
    """``resnet50``, or one of timm's as ``tu-NAME``."""
    decoder_channels: tuple[Annotated[int, Field(gt=0)], ...] | None = None
    """Of each block of the decoder, for architectures that take them; None: their own default."""


class Train(Section):
    """The network's start, its schedule, and the machines it trains on."""

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
    """Which split to report on, how many pictures its overlay page shows, and how many of each set are damaged."""

    split: Literal["train", "val", "test"]
    overlays: Annotated[int, Field(gt=0)]
    robustness: Annotated[int, Field(ge=0)]


class Archive(Section):
    """What the archive calls itself."""

    version: str | None = None
    """None: that of the package."""


class Promote(Section):
    """By how much a challenger may be worse than the champion on the same test pictures and still replace it."""

    mean_f1: Annotated[float, Field(ge=0)]
    robustness: Annotated[float, Field(ge=0)]
    found: Annotated[float, Field(ge=0)]
    nme: Annotated[float, Field(ge=0)]
    latency: Annotated[float, Field(ge=0)]


class Range(Section):
    """Where a sweep looks for a value, evenly over the orders of magnitude."""

    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low, {self.low}, is above high, {self.high}")
        return self


class Sweep(Section):
    """The phases that a trial trains for, and the values of ``train`` that are looked for."""

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
        """What a pass of the pipeline depends on, in plain Python types."""
        return self.model_dump(mode="json", exclude={"promote", "sweep"})


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check the parameters.

    Raises:
        SystemExit: the file is no YAML, or holds an unknown name or a value out of range; the message says which.
    """
    try:
        return Params.model_validate(yaml.safe_load(Path(path).read_text()))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SystemExit(f"{path}: {faults}") from error
    except yaml.YAMLError as error:
        raise SystemExit(f"{path} is not YAML: {error}") from error


def model_folder(folder: Path | str = ".") -> Path:
    """The bundle in a project's folder: the one that was built there, else the released one.

    Raises:
        FileNotFoundError: it holds neither.
    """
    for bundle in (BUILT, RELEASED):
        if Path(folder, bundle, "model.safetensors").is_file():
            return Path(folder, bundle)
    raise FileNotFoundError(
        f"there are no weights in {Path(folder).resolve()}; go to the project's folder and fetch the released ones "
        "with: dvc pull weights.dvc, or train: make repro"
    )
