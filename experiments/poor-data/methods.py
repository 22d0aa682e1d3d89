"""Three ways from a crop to 68 points: parsing, heatmaps, coordinates. One encoder, one training.

Each learns from the same labels. Parsing turns them into masks (:mod:`facemark.partial_masks`), and learns how masks
lead to points (:mod:`facemark.landmarks`) from the same labels again. The other two are fitted to the points.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import segmentation_models_pytorch as smp
import torch
from faces import CropDataset, Face, frame
from rich.progress import track
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import DataLoader

from facemark.data.outliers import correct_points
from facemark.data.partial_masks import draw_partial_mask
from facemark.geometry import apply, invert
from facemark.inference.landmarks import LandmarkModel, feature_maps, flip_landmarks
from facemark.labels import CLASSES, FLIP_POINTS, IGNORE
from facemark.models.unet import ParsingNet, build
from facemark.settings import Network
from facemark.training.precision import training_dtype
from facemark.training.task import ParsingTask
from facemark.training.trainer import keep_memory

NETWORK = Network(architecture="Unet", encoder="resnet50", decoder_channels=(256, 128, 64, 32, 16))
"""That of parsing; its encoder is that of all methods."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SPREAD, WINDOW = 0.025, 0.12
"""Standard deviation of a heatmap's peak, and how far around the peak its mean is taken, as shares of the side."""
HIDDEN = 512
"""Width of the layer between the encoder and coordinates."""
BATCH = 32
"""Test crops in one batch."""
RANK, ITERATIONS = 20, 30
"""Modes of the face that missing points are filled in by, and how often."""
PENALTIES, FOLDS = np.logspace(-3, 6, 10), 5
"""Of the second fit of direct methods: those tried, the last of which changes nothing, and by how many folds."""


@dataclass(frozen=True)
class Settings:
    """What is the same for all methods."""

    size: int
    updates: int
    batch_size: int
    weight_decay: float
    warmup: float
    clip: float
    views: int
    """Crops that a second fit learns from, more where there are more faces."""
    workers: int


def complete_points(points: np.ndarray) -> np.ndarray:
    """Points N × 68 × 2 of aligned faces, the missing (NaN) ones predicted from the others.

    Singular values are lowered, as in softImpute (Mazumder et al., JMLR 2010), by the first that is left out.
    """
    rows = points.reshape(len(points), -1)
    known = np.isfinite(rows)
    given = np.where(known, rows, 0)
    rows = np.where(known, rows, given.sum(0) / known.sum(0).clip(1))
    for _ in range(ITERATIONS):
        mean = rows.mean(0)
        u, s, v = np.linalg.svd(rows - mean, full_matrices=False)
        s = (s - s[min(RANK, len(s) - 1)]).clip(0)
        rows = np.where(known, given, (u * s) @ v + mean)
    return rows.reshape(points.shape)


def views(faces: list[Face], labels: np.ndarray, known: np.ndarray, settings: Settings, seed: int) -> DataLoader:
    """The training faces once more, askew as in training, with their labels and which are known, N × 68 × 3."""
    count = max(settings.views, len(faces))
    crops = CropDataset(faces, labels, known, count, settings.size, seed + 1, lambda *label: np.column_stack(label))
    return DataLoader(crops, settings.batch_size, num_workers=settings.workers)


class Parsing:
    """Regions by the project's network and loss, points by its landmark model."""

    def __init__(self, _: np.ndarray, size: int):
        self.size = size
        self.task = ParsingTask(build(NETWORK), None, [1.0] * len(CLASSES)).to(DEVICE)
        self.network = self.task.network

    def target(self, points: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The mask that the labels tell of; around a missing label it says nothing."""
        pixels = self.size * points - 0.5
        mask = draw_partial_mask(pixels, (self.size, self.size))
        if not known.all():
            rows, columns = np.indices(mask.shape)
            distances = (columns[..., None] - pixels[:, 0]) ** 2 + (rows[..., None] - pixels[:, 1]) ** 2
            mask = np.where(known[distances.argmin(-1)], mask, IGNORE).astype(np.uint8)
        return mask

    def loss(self, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """The loss that the project's parser is trained by."""
        return self.task.loss((images, masks))[0]

    def regions(self, images: torch.Tensor) -> np.ndarray:
        """Probabilities N × 19 × S × S."""
        return self.network(images).softmax(1).cpu().numpy()

    def finish(self, faces: list[Face], labels: np.ndarray, known: np.ndarray, settings: Settings, seed: int) -> None:
        """Learn how the regions that the network now sees in the training faces lead to their labels."""
        pairs = []
        for images, labelled in views(faces, labels, known, settings, seed):
            with inference():
                regions = self.regions(images.to(DEVICE))
            pairs += [(feature_maps(r), p) for r, p in zip(regions, labelled[..., :2].numpy(), strict=True)]
        self.landmarks = LandmarkModel.from_shapes(np.array([points for _, points in pairs])).fit(pairs, seed)

    def points(self, images: torch.Tensor) -> np.ndarray:
        """Points N × 68 × 2."""
        return np.array([self.landmarks.place(feature_maps(r))[0] for r in self.regions(images)])


def second_fit(rows: np.ndarray, residuals: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The linear map 2 × D from rows N × D to the residuals of one point, N × 2; `faces` says whose each row is.

    Its penalty is that of the least absolute error on faces left out, which labels thrown far off move little.
    """
    folds = GroupKFold(min(FOLDS, len(set(faces))))
    search = GridSearchCV(Ridge(fit_intercept=False), {"alpha": PENALTIES}, scoring="neg_mean_absolute_error", cv=folds)
    return search.fit(rows, residuals, groups=faces).best_estimator_.coef_


class Direct:
    """What the two methods share that are fitted to the points themselves."""

    def target(self, points: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The points, NaN where there is no label."""
        return np.where(known[:, None], points, np.nan).astype(np.float32)

    def finish(self, faces: list[Face], labels: np.ndarray, known: np.ndarray, settings: Settings, seed: int) -> None:
        """Learn what parsing's landmark model learns too: the shapes, and a second fit to the labels."""
        crops = views(faces, labels, known, settings, seed)
        found, labelled = [], []
        for images, label in crops:
            with inference():
                found.append(self.points(images.to(DEVICE)))
            labelled.append(label.numpy())
        found, labelled = np.concatenate(found), np.concatenate(labelled)
        points, there, which = labelled[..., :2], labelled[..., 2] > 0, crops.dataset.order
        self.shapes = LandmarkModel.from_shapes(points)
        found, points = (np.concatenate([each, flip_landmarks(each)]) for each in (found, points))
        there, which = np.concatenate([there, there[:, FLIP_POINTS]]), np.tile(which, 2)
        rows, residuals = self._rows(found), points - found
        with threadpool_limits(1):  # matrices this small take many times as long on several threads
            fits = [second_fit(rows[some], residuals[some, i], which[some]) for i, some in enumerate(there.T)]
        self.maps = np.array(fits)

    def shaped(self, points: np.ndarray) -> np.ndarray:
        """The nearest points N × 68 × 2 that are such a shape: what a shape model alone does for a direct method."""
        mean, modes = self.shapes.mean, self.shapes.modes
        return mean + ((points - mean).reshape(len(points), -1) @ modes.T @ modes).reshape(points.shape)

    def refitted(self, points: np.ndarray) -> np.ndarray:
        """Each of N × 68 × 2 points, moved by what all of them together say that its label residuals."""
        return points + np.einsum("nd,pkd->npk", self._rows(points), self.maps)

    def _rows(self, points: np.ndarray) -> np.ndarray:
        away = (points - self.shapes.mean).reshape(len(points), -1)
        return np.column_stack([away, np.ones(len(away))])


class Heatmap(Direct):
    """The same U-Net with a heatmap a point, fitted by cross-entropy to a Gaussian around the label."""

    def __init__(self, shapes: np.ndarray, size: int):
        self.network = ParsingNet(NETWORK)
        head = self.network.net.segmentation_head[0]
        self.network.net.segmentation_head = smp.base.SegmentationHead(head.in_channels, shapes.shape[1], 3)
        places = (torch.arange(size, device=DEVICE) + 0.5) / size
        self.grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1).view(-1, 2)

    def loss(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy over the labels that there are and that lie in the crop."""
        there = ((points > 0) & (points < 1)).all(-1)  # NaN is neither
        wanted = (-(torch.cdist(points[there], self.grid) ** 2) / (2 * SPREAD**2)).softmax(-1)
        found = self.network(images).flatten(2)[there].log_softmax(-1)
        return -(wanted * found).sum() / there.sum().clamp(min=1)

    def points(self, images: torch.Tensor) -> np.ndarray:
        """Points N × 68 × 2: the mean of each heatmap around its peak."""
        share = self.network(images).flatten(2).softmax(-1)
        peak = self.grid[share.argmax(-1)]
        share = share * (torch.cdist(peak, self.grid) < WINDOW)
        with torch.autocast(DEVICE, enabled=False):  # whose product would be rounded to eight bits
            return (share @ self.grid / share.sum(-1, keepdim=True)).cpu().numpy()


class Regressor(ParsingNet):
    """The encoder and two layers from all places of its last features to coordinates; starts from the mean label."""

    def __init__(self, shapes: np.ndarray, size: int):
        super().__init__(NETWORK)
        encoder = self.net.encoder
        del self.net.decoder, self.net.segmentation_head
        last = nn.Linear(HIDDEN, shapes[0].size)
        nn.init.normal_(last.weight, std=1e-3)
        last.bias.data = torch.from_numpy(shapes.mean(0).ravel()).float()
        features = encoder.out_channels[-1] * (size // encoder.output_stride) ** 2
        first = nn.Linear(features, HIDDEN, bias=False)
        self.head = nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(HIDDEN), nn.ReLU(), last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Answer the points of a batch, N × 68 × 2."""
        x = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.head(self.net.encoder(x)[-1]).float().view(len(images), -1, 2)


class Coordinate(Direct):
    """The encoder and coordinates, fitted by their distance (L1), which outliers move little."""

    def __init__(self, shapes: np.ndarray, size: int):
        self.network = Regressor(shapes, size)

    def loss(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Mean distance over the labels that there are, in tenths of the side."""
        there = points.isfinite()
        return 10 * (self.network(images)[there] - points[there]).abs().sum() / there.sum().clamp(min=1)

    def points(self, images: torch.Tensor) -> np.ndarray:
        """Points N × 68 × 2, within the crop as those of heatmaps are: some would lie far beyond."""
        return self.network(images).clamp(0, 1).cpu().numpy()


METHODS = {"parsing": Parsing, "heatmap": Heatmap, "coordinate": Coordinate}
Method = Parsing | Heatmap | Coordinate
Correction = Callable[[np.ndarray], np.ndarray]
"""What is done to points N × 68 × 2, shares of their crops, after the network."""


def precision() -> torch.dtype:
    """The number format of the networks: on a GPU bf16, which needs no scaling of gradients."""
    return torch.bfloat16 if DEVICE == "cuda" else training_dtype(DEVICE)


def mixed() -> torch.autocast:
    """Networks computed in that format; where it is the usual one, nothing changes."""
    return torch.autocast(DEVICE, precision(), enabled=precision() != torch.float32)


@contextmanager
def inference() -> Iterator[None]:
    """No gradients, and the number format of training."""
    with torch.inference_mode(), mixed():
        yield


def fit(name: str, faces: list[Face], labels: np.ndarray, settings: Settings, rate: float, seed: int) -> Method:
    """Train one of METHODS on labels of which those that fit no face are moved, as the project's prepare does.

    Args:
        name: which.
        faces: to learn from.
        labels: of these faces, N × 68 × 2, pixels of their pictures, NaN where missing.
        settings: what is the same for all methods.
        rate: highest learning rate.
        seed: of the start, the order and the augmentation; the same for the same seed, whatever the labels.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed)
    keep_memory()
    known = np.isfinite(labels).all(-1)
    labels = correct_points(labels)[0] if known.all() else labels
    frames = np.array([frame(face.points) for face in faces])
    shapes = complete_points(np.array([apply(*each) for each in zip(frames, labels, strict=True)]))
    labels = np.array([apply(invert(matrix), shape) for matrix, shape in zip(frames, shapes, strict=True)])

    method = METHODS[name](shapes, settings.size)
    network = method.network.to(DEVICE, memory_format=torch.channels_last).train()
    count = settings.updates * settings.batch_size
    crops = CropDataset(faces, labels, known, count, settings.size, seed, method.target)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, settings.updates, pct_start=settings.warmup)
    loader = DataLoader(crops, settings.batch_size, num_workers=settings.workers)
    for images, targets in track(loader, f"training {name}"):
        with mixed():
            loss = method.loss(images.to(DEVICE), targets.to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimizer.step()
        schedule.step()
    network.eval()
    method.finish(faces, labels, known, settings, seed)
    return method


def predict(
    method: Method, images: torch.Tensor, frames: np.ndarray, correction: Correction | None = None
) -> np.ndarray:
    """Points N × 68 × 2, in pixels of the pictures that crops N × 3 × S × S were cut out of by their frames."""
    with inference():
        shares = np.concatenate([method.points(part.to(DEVICE)) for part in images.split(BATCH)])
    shares = correction(shares) if correction else shares
    return np.array([apply(invert(matrix), points) for matrix, points in zip(frames, shares, strict=True)])
