"""The number format to train in."""

import time
from functools import cache
from typing import Literal

import torch

MIN_SPEEDUP = 1.25
"""bf16 is used on a CPU only if it is faster than fp32 by more than this factor."""


def product_time(dtype: torch.dtype) -> float:
    """CPU seconds of one thread for the product of two 512 × 512 matrices, the best of five.

    Not wall time: that depends on what else the machine does.
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
def training_dtype(device: str) -> torch.dtype:
    """The number format to train in on a type of device, ``cpu`` or ``cuda``.

    On GPUs bf16, which has the range of fp32, or fp16 if the GPU has no bf16. On CPUs bf16 if it is clearly faster than
    fp32, which is measured: some CPUs with bf16 instructions are slower in it. Near equal speed, chance would decide,
    and two trainings with one seed would differ.
    """
    if device == "cpu":
        faster = MIN_SPEEDUP * product_time(torch.bfloat16) < product_time(torch.float32)
        return torch.bfloat16 if faster else torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def lightning_precision(accelerator: str) -> Literal["16-mixed", "bf16-mixed", "32-true"]:
    """Lightning's name of the number format to train in, for Lightning's name of the accelerator."""
    dtype = training_dtype("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    if dtype == torch.float32:
        return "32-true"
    return "bf16-mixed" if dtype == torch.bfloat16 else "16-mixed"
