"""What this machine allows: the rate of the bare products, and the bandwidth of a copy."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version

import torch
import torch.nn.functional as F

from jobs.measure.benchmark.timing import micro_medians
from pipeline.bigbird.linear import Linear
from pipeline.bigbird.operators import Operators
from pipeline.cores import processor_name

COPIED_BYTES = 2**28
PACKAGES = ("torch", "transformers", "numpy")


@dataclass(frozen=True, slots=True)
class Shape:
    """One of a layer's four products with weights: [T, inputs] times [inputs, outputs]."""

    name: str
    inputs: int
    outputs: int

    @property
    def flops(self) -> int:
        """Floating point operations for one row."""
        return 2 * self.inputs * self.outputs


def shapes(hidden: int, intermediate: int) -> tuple[Shape, ...]:
    """Lists a layer's products with weights, in their order."""
    return (
        Shape("queries, keys, values", hidden, 3 * hidden),
        Shape("attention output", hidden, hidden),
        Shape("up", hidden, intermediate),
        Shape("down", intermediate, hidden),
    )


def gemm_rate(shape: Shape, rows: int, dtype: torch.dtype, device: str, ours: Operators) -> float:
    """Measures a bare product, in FLOP/s: of torch's way and ours the faster, so that the floor is a floor."""
    x_RI = torch.randn(rows, shape.inputs, device=device).to(dtype)
    linear = Linear(shape.inputs, shape.outputs, device=device, dtype=dtype)
    product = ours.product(linear, (None,), ours.rows)
    weight_OI, bias_O = linear.part(None)
    with torch.inference_mode():
        times = micro_medians(
            {"torch": lambda: F.linear(x_RI, weight_OI, bias_O), "ours": lambda: product(x_RI)},
            device,
        )
    return rows * shape.flops / min(times.values())


def copy_bandwidth(device: str) -> float:
    """Measures a copy, in bytes per second, read and written ones counted."""
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / micro_medians({"copy": lambda: target.copy_(source)}, device)["copy"]


def facts(device: str) -> dict[str, object]:
    """Says what the figures were measured on: device, threads, cores, versions."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else processor_name(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
