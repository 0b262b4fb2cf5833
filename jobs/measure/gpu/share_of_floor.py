"""Each part of a pass beside its floor; MFU; and how long the GPU waits between passes."""

from collections.abc import Iterator
from functools import partial

import torch

from jobs.measure.benchmark.machine import shapes
from jobs.measure.benchmark.stages import Stages, measure_stages, pass_flops
from jobs.measure.benchmark.token_windows import of_length
from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.gpu_idle import idle_share
from jobs.measure.gpu.models import model_of, rookery_of
from jobs.measure.gpu.scope import Scope
from pipeline.inference.device import device_title

# Dense bf16 FLOP/s of NVIDIA's data sheets, by a part of the device's name; the first that fits.
PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
}
PASSES = 4  # packs, one after another


def measure_share_of_floor(scope: Scope) -> Iterator[ResultRow]:
    """Yields the parts of a pass, the bare products, the whole pass, and packs one after another."""
    rookery = rookery_of(model_of(scope), scope, scope.dtype)
    measured = measure_stages(rookery.predictor, scope.pack // scope.longest, scope.device, scope.longest)
    for stage in measured.stages:
        yield (
            stage.name,
            {
                "ms": stage.seconds * 1e3,
                "share of the pass": stage.seconds / measured.pass_seconds,
                "floor, ms": stage.floor_seconds * 1e3,
                "share of the floor": stage.floor_seconds / stage.seconds,
            },
        )
    for name, rate in measured.gemm_rates.items():
        yield f"bare product, {name}", {"TFLOP/s": rate / 1e12}
    yield "copy", {"GB/s": measured.bandwidth / 1e9}
    config = rookery.predictor.classifier.encoder_config
    every, _ = pass_flops(shapes(config.hidden_size, config.intermediate_size), config, measured.tokens, scope.longest)
    yield f"a pass of {scope.longest:,} tokens a window", _whole(measured, every, device_title(scope.device))
    windows = of_length(scope.longest, PASSES * scope.pack)
    with torch.inference_mode():
        yield "packs one after another", {"GPU idle": idle_share(partial(rookery, windows), scope.device)}


def _whole(measured: Stages, flops: float, device: str) -> dict[str, float]:
    figures = {
        "ms": measured.pass_seconds * 1e3,
        "tokens/s": measured.tokens / measured.pass_seconds,
        "share of the floor": measured.share_of_gemm_floor,
        "share of the floor, first rows only": measured.share_of_gemm_floor_first_rows_only,
        "TFLOP/s": flops / measured.pass_seconds / 1e12,
    }
    peak = peak_of(device)
    return figures | ({"MFU": flops / measured.pass_seconds / peak} if peak else {})


def peak_of(device: str) -> float | None:
    """Gives a device's FLOP/s by its name; None where it is not known."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)
