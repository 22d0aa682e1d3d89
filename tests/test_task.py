import numpy as np
import pytest
import torch
from training_set import settings, tiny_network, write_samples

from facemark.labels import BESIDE_FACE, CLASSES, FACE, IGNORE, Region
from facemark.models.unet import build
from facemark.settings import Network
from facemark.training.datamodule import FaceDataModule
from facemark.training.task import ParsingTask
from facemark.training.trainer import create_trainer

WEIGHTS = [1.0] * len(CLASSES)


def test_ignored_pixels_cost_nothing():
    task = ParsingTask(tiny_network(), settings(), WEIGHTS).eval()
    images, masks = torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.full((1, 32, 32), IGNORE)
    masks[0, 0, 0] = 3
    with torch.no_grad():
        loss, logits = task.loss((images, masks))
        of_one = torch.nn.functional.cross_entropy(logits[0, :, 0, 0], torch.tensor(3))
        assert task.cross_entropy(logits, masks.long()) == pytest.approx(float(of_one), abs=1e-4)
        assert loss == pytest.approx(float(of_one + task.dice(logits, masks.long())), abs=1e-4)
        nothing, _ = task.loss((images, torch.full((1, 32, 32), IGNORE)))
    assert nothing == 0


def test_a_pixel_of_several_classes_costs_the_log_of_their_summed_probability():
    task = ParsingTask(torch.nn.Identity(), settings(), WEIGHTS)
    masks = torch.full((1, 1, 2), BESIDE_FACE)
    masks[0, 0, 1] = Region.SKIN
    probabilities = torch.full((1, 19, 1, 2), 0.02)
    probabilities[:, list(FACE)] = (1 - 9 * 0.02) / 10
    costs = []
    for logits in (probabilities.log(), torch.where(torch.tensor([True, False]), 5.0, 0.0) + probabilities.log()):
        skin_alone = masks.masked_fill(masks == BESIDE_FACE, IGNORE)
        costs.append(task.loss((logits, masks))[0] - task.loss((logits, skin_alone))[0])
    # one pixel of two; the nine other classes share 18 %; what is added to all logits alike changes nothing
    assert torch.stack(costs) == pytest.approx(-np.log(0.18) / 2, abs=1e-4)


@pytest.mark.parametrize("encoder", ["tu-test_resnet", "tu-test_efficientnet"])
@pytest.mark.parametrize("freeze", [False, True])
def test_a_fine_tuning_may_freeze_the_statistics_of_batch_normalisation(tmp_path, encoder, freeze):
    samples, given = write_samples(tmp_path), settings(freeze_batchnorm=freeze)
    network = build(Network(architecture="FPN", encoder=encoder))
    before = {name: values.clone() for name, values in network.named_buffers() if "running" in name}
    create_trainer(given, tmp_path / "checkpoints", []).fit(
        ParsingTask(network, given, WEIGHTS), FaceDataModule(samples, samples, given)
    )
    moved = [not torch.equal(network.get_buffer(name), values) for name, values in before.items()]
    assert len(moved) > 5
    assert not any(moved) if freeze else all(moved)


def test_the_learning_rate_rises_during_the_warm_up_and_falls_to_nothing(tmp_path):
    samples, given = write_samples(tmp_path), settings(warmup=0.5, learning_rate=0.01)
    given = given.model_copy(update={"phases": [given.phases[0].model_copy(update={"epochs": 4})]})
    trainer = create_trainer(given, tmp_path / "checkpoints", [])
    task, rates = ParsingTask(tiny_network(), given, WEIGHTS), []
    task.on_train_batch_start = lambda *_: rates.append(task.optimizers().param_groups[0]["lr"])
    trainer.fit(task, FaceDataModule(samples, samples, given))
    assert len(rates) == 4 * 2, "four images in batches of two"
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(0.01, rel=0.01)
    assert top == 3
    assert rates[0] < rates[1] < rates[top] > rates[-2] > rates[-1]
    assert rates[-1] < 1e-4
