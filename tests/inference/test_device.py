import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.bigbird.layout import Layout
from pipeline.inference.device import Device
from tests.bigbird.configs import encoder_config

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
LAYOUT = Layout.of([5, 300], encoder_config())


def test_the_memory_of_a_cpu_is_the_machines() -> None:
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    memory = Device("cpu").memory()
    assert memory == total
    assert memory % os.sysconf("SC_PAGE_SIZE") == 0


def test_nothing_moves_on_a_cpu() -> None:
    device, token_id_T = Device("cpu"), torch.arange(LAYOUT.rows)
    assert not device.is_gpu
    moved_T, layout = device.put(token_id_T, LAYOUT)
    assert moved_T is token_id_T
    assert layout is LAYOUT
    device.free_cached_memory()  # there is none: no error


def test_logits_of_a_cpu_are_there_at_once() -> None:
    logits_WL = torch.tensor([[1.0, torch.nan], [3.0, -torch.inf]])
    running = Device("cpu").get(logits_WL, (torch.arange(LAYOUT.rows), LAYOUT))
    assert running.ended is None
    assert running.logits().dtype == np.float32
    np.testing.assert_array_equal(running.logits(), logits_WL.numpy())


@pytest.mark.gpu
@needs_gpu
def test_there_and_back_on_a_gpu() -> None:
    device, token_id_T = Device("cuda"), torch.arange(LAYOUT.rows)
    assert device.memory() == torch.cuda.mem_get_info()[1]
    moved_T, layout = device.put(token_id_T, LAYOUT)
    assert moved_T.is_cuda
    assert layout.row_N.is_cuda
    assert layout.wide[0].bias_GS.is_cuda
    running = device.get((2 * moved_T[layout.row_N]).float()[:, None], (moved_T, layout))
    expected_N = 2 * token_id_T[LAYOUT.row_N].numpy()
    np.testing.assert_array_equal(running.logits()[:, 0], expected_N)
    device.free_cached_memory()
