"""Three ways from a crop to 68 points: parsing, heatmaps, coordinates. They share the encoder and the training.

Each is trained on the same labels. Parsing turns them into masks (:mod:`facemark.data.partial_masks`), and fits a
landmark model to the same labels (:mod:`facemark.inference.landmarks`). The direct methods are fitted to the points.
"""

from collections.abc import Callable

import numpy as np
import segmentation_models_pytorch as smp
import torch
from faces import CropDataset, Face
from runtime import DEVICE, Settings, inference
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from torch import nn
from torch.utils.data import DataLoader

from facemark.data.partial_masks import draw_partial_mask
from facemark.inference.landmarks import LandmarkModel, feature_maps, flip_landmarks
from facemark.labels import CLASSES, FLIP_POINTS, IGNORE
from facemark.models.unet import ParsingNet, build
from facemark.settings import Network
from facemark.training.task import ParsingTask

NETWORK = Network(architecture="Unet", encoder="resnet50", decoder_channels=(256, 128, 64, 32, 16))
"""The network of parsing; all methods use its encoder."""
HEATMAP_STD, READOUT_RADIUS = 0.025, 0.12
"""Standard deviation of a heatmap's peak, and radius around the peak in which its mean is taken, in sides."""
HIDDEN_WIDTH = 512
"""Width of the layer between the encoder and the coordinates."""
PENALTIES, FOLDS = np.logspace(-3, 6, 10), 5
"""Of :func:`fit_residuals`: ridge penalties that are tried, the last of which changes nothing, and number of folds."""


def training_crops(
    faces: list[Face], labels: np.ndarray, known: np.ndarray, settings: Settings, seed: int
) -> tuple[CropDataset, DataLoader]:
    """New augmented crops of the training faces; a target is a label, and whether it is known: 68 × 3."""
    count = max(settings.views, len(faces))
    crops = CropDataset(faces, labels, known, count, settings.size, seed + 1, lambda *label: np.column_stack(label))
    return crops, DataLoader(crops, settings.batch_size, num_workers=settings.workers)


class Parsing:
    """Regions by the project's network and loss, points by its landmark model."""

    def __init__(self, _: np.ndarray, size: int, network: Network = NETWORK):
        self.size = size
        self.task = ParsingTask(build(network), None, [1.0] * len(CLASSES)).to(DEVICE)
        self.network = self.task.network

    def target(self, points: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The partial mask of 68 × 2 labels, S × S; pixels whose nearest point is not known are ignored."""
        pixels = self.size * points - 0.5
        mask = draw_partial_mask(pixels, (self.size, self.size))
        if not known.all():
            rows, columns = np.indices((self.size, self.size))
            distances = (columns[..., None] - pixels[:, 0]) ** 2 + (rows[..., None] - pixels[:, 1]) ** 2
            mask = np.where(known[distances.argmin(-1)], mask, IGNORE).astype(np.uint8)
        return mask

    def loss(self, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """The loss of the project's parser."""
        return self.task.loss((images, masks))[0]

    def regions(self, images: torch.Tensor) -> np.ndarray:
        """Probabilities N × 19 × S × S."""
        return self.network(images).softmax(1).cpu().numpy()

    def finish(self, faces: list[Face], labels: np.ndarray, known: np.ndarray, settings: Settings, seed: int) -> None:
        """Fit the landmark model to the training faces as the trained network segments them."""
        pairs = []
        for images, labelled in training_crops(faces, labels, known, settings, seed)[1]:
            with inference():
                regions = self.regions(images.to(DEVICE))
            pairs += [(feature_maps(r), p) for r, p in zip(regions, labelled[..., :2].numpy(), strict=True)]
        self.landmarks = LandmarkModel.from_shapes(np.array([points for _, points in pairs])).fit(pairs, seed)

    def points(self, images: torch.Tensor) -> np.ndarray:
        """Points N × 68 × 2."""
        return np.array([self.landmarks.place(feature_maps(r))[0] for r in self.regions(images)])


def fit_residuals(rows: np.ndarray, residuals: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Ridge regression from rows N × D to the residuals of one point, N × 2.

    The penalty is that of the least absolute error on held-out faces, which outliers change little.

    Args:
        rows: N × D.
        residuals: N × 2.
        groups: the face of each row, N.

    Returns:
        The linear map 2 × D.
    """
    folds = GroupKFold(min(FOLDS, len(set(groups))))
    search = GridSearchCV(Ridge(fit_intercept=False), {"alpha": PENALTIES}, scoring="neg_mean_absolute_error", cv=folds)
    return search.fit(rows, residuals, groups=groups).best_estimator_.coef_


class Direct:
    """Base of the two methods that are fitted to the points themselves."""

    network: nn.Module

    def points(self, images: torch.Tensor) -> np.ndarray:
        """Points N × 68 × 2."""
        raise NotImplementedError

    def target(self, points: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The points, NaN where there is no label."""
        return np.where(known[:, None], points, np.nan).astype(np.float32)

    def finish(self, faces: list[Face], labels: np.ndarray, known: np.ndarray, settings: Settings, seed: int) -> None:
        """Fit the corrections, which are like what parsing's landmark model has: a shape model and a refit."""
        crops, batches = training_crops(faces, labels, known, settings, seed)
        predictions, targets = [], []
        for images, target in batches:
            with inference():
                predictions.append(self.points(images.to(DEVICE)))
            targets.append(target.numpy())
        predicted, target = np.concatenate(predictions), np.concatenate(targets)
        points, labelled, which = target[..., :2], target[..., 2] > 0, crops.order
        self.shapes = LandmarkModel.from_shapes(points)
        predicted, points = (np.concatenate([each, flip_landmarks(each)]) for each in (predicted, points))
        labelled, which = np.concatenate([labelled, labelled[:, FLIP_POINTS]]), np.tile(which, 2)
        rows, residuals = self._rows(predicted), points - predicted
        fits = [fit_residuals(rows[mask], residuals[mask, i], which[mask]) for i, mask in enumerate(labelled.T)]
        self.maps = np.array(fits)

    def shaped(self, points: np.ndarray) -> np.ndarray:
        """The nearest shapes of the shape model to points N × 68 × 2."""
        mean, modes = self.shapes.mean, self.shapes.modes
        return mean + ((points - mean).reshape(len(points), -1) @ modes.T @ modes).reshape(points.shape)

    def refitted(self, points: np.ndarray) -> np.ndarray:
        """Points N × 68 × 2, each moved by its residual as predicted from all of them."""
        return points + np.einsum("nd,pkd->npk", self._rows(points), self.maps)

    def _rows(self, points: np.ndarray) -> np.ndarray:
        offsets = (points - self.shapes.mean).reshape(len(points), -1)
        return np.column_stack([offsets, np.ones(len(offsets))])


class Heatmap(Direct):
    """The same network with one heatmap a point, fitted by cross-entropy to a Gaussian around the label."""

    def __init__(self, shapes: np.ndarray, size: int, network: Network = NETWORK):
        self.network = ParsingNet(network)
        head = self.network.net.segmentation_head[0]
        self.network.net.segmentation_head = smp.base.SegmentationHead(head.in_channels, shapes.shape[1], 3)
        centers = (torch.arange(size, device=DEVICE) + 0.5) / size
        self.grid = torch.stack(torch.meshgrid(centers, centers, indexing="xy"), -1).view(-1, 2)

    def loss(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy over the points that are labelled and in the crop."""
        labelled = ((points > 0) & (points < 1)).all(-1)  # false for NaN
        target = (-(torch.cdist(points[labelled], self.grid) ** 2) / (2 * HEATMAP_STD**2)).softmax(-1)
        predicted = self.network(images).flatten(2)[labelled].log_softmax(-1)
        return -(target * predicted).sum() / labelled.sum().clamp(min=1)

    def points(self, images: torch.Tensor) -> np.ndarray:
        """Points N × 68 × 2: the mean of each heatmap around its peak."""
        share = self.network(images).flatten(2).softmax(-1)
        peak = self.grid[share.argmax(-1)]
        share = share * (torch.cdist(peak, self.grid) < READOUT_RADIUS)
        with torch.autocast(DEVICE, enabled=False):  # in bfloat16 the product would be rounded to eight bits
            return (share @ self.grid / share.sum(-1, keepdim=True)).cpu().numpy()


class Regressor(ParsingNet):
    """The encoder and two layers from all positions of its last features to coordinates; it starts at the mean."""

    def __init__(self, shapes: np.ndarray, size: int, network: Network = NETWORK):
        super().__init__(network)
        encoder = self.net.encoder
        del self.net.decoder, self.net.segmentation_head
        last = nn.Linear(HIDDEN_WIDTH, shapes[0].size)
        nn.init.normal_(last.weight, std=1e-3)
        last.bias.data = torch.from_numpy(shapes.mean(0).ravel()).float()
        features = encoder.out_channels[-1] * (size // encoder.output_stride) ** 2
        first = nn.Linear(features, HIDDEN_WIDTH, bias=False)
        self.head = nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(HIDDEN_WIDTH), nn.ReLU(), last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The points of a batch, N × 68 × 2."""
        x = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.head(self.net.encoder(x)[-1]).float().view(len(images), -1, 2)


class Coordinate(Direct):
    """The encoder and coordinates, fitted by their distance (L1), which outliers change little."""

    def __init__(self, shapes: np.ndarray, size: int, network: Network = NETWORK):
        self.network = Regressor(shapes, size, network)

    def loss(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Mean distance over the points that are labelled, in tenths of the side."""
        labelled = points.isfinite()
        return 10 * (self.network(images)[labelled] - points[labelled]).abs().sum() / labelled.sum().clamp(min=1)

    def points(self, images: torch.Tensor) -> np.ndarray:
        """Points N × 68 × 2, clamped to the crop, as those of heatmaps are."""
        return self.network(images).clamp(0, 1).cpu().numpy()


Method = Parsing | Heatmap | Coordinate
METHODS: dict[str, type[Method]] = {"parsing": Parsing, "heatmap": Heatmap, "coordinate": Coordinate}
Correction = Callable[[np.ndarray], np.ndarray]
"""A correction, after the network, of points N × 68 × 2 in shares of their crops."""
