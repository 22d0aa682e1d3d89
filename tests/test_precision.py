import pytest
import torch

from facemark.training import precision


@pytest.mark.parametrize(("times", "chosen"), [(0.6, torch.float32), (1.1, torch.float32), (6, torch.bfloat16)])
def test_bf16_is_for_cpus_that_are_clearly_faster_in_it(times, chosen, monkeypatch):
    monkeypatch.setattr(precision, "product_time", {torch.float32: times, torch.bfloat16: 1}.get)
    assert precision.training_dtype.__wrapped__("cpu") == chosen


def test_the_product_of_matrices_is_timed_on_one_thread():
    threads = torch.get_num_threads()
    assert 1e-5 < precision.product_time(torch.float32) < 10
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("dtype", "name"), [(torch.float32, "32-true"), (torch.bfloat16, "bf16-mixed")])
def test_lightning_trains_in_that_format(dtype, name, monkeypatch):
    monkeypatch.setattr(precision, "training_dtype", {"cpu": dtype}.get)
    assert precision.lightning_precision("cpu") == name
