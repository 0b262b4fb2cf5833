"""What products in 8 bits would give: the rates of a layer's four products, bare, beside bf16."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from jobs.measure.benchmark.machine import Shape, shapes
from jobs.measure.benchmark.timing import micro_medians
from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.models import model_of
from jobs.measure.gpu.scope import Scope

_Product = Callable[[], Tensor]


def measure_eight_bits(scope: Scope) -> Iterator[ResultRow]:
    """Yields TFLOP/s of each product in bf16, fp8 and int8, as far as the device has it."""
    config = model_of(scope).config
    for shape in shapes(config.hidden_size, config.intermediate_size):
        figures = {}
        for name, make in (("bf16", _bf16), ("fp8", _fp8), ("int8", _int8)):
            try:
                product = make(shape, scope.pack, scope.device)
                taken = micro_medians({name: product}, scope.device)[name]
            except (RuntimeError, NotImplementedError):  # this device does not multiply it
                continue
            figures[f"{name} TFLOP/s"] = scope.pack * shape.flops / taken / 1e12
        yield shape.name, figures


def _bf16(shape: Shape, rows: int, device: str) -> _Product:
    x_RI, weight_IO = _operands(shape, rows, device, torch.bfloat16)
    return lambda: x_RI @ weight_IO


def _fp8(shape: Shape, rows: int, device: str) -> _Product:
    x_RI, weight_IO = _operands(shape, rows, device, torch.float8_e4m3fn)
    one = torch.ones((), device=device)
    return lambda: torch._scaled_mm(x_RI, weight_IO, one, one, out_dtype=torch.bfloat16)


def _int8(shape: Shape, rows: int, device: str) -> _Product:
    x_RI, weight_IO = _operands(shape, rows, device, torch.int8)
    return lambda: torch._int_mm(x_RI, weight_IO)


def _operands(shape: Shape, rows: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Random ones: on zeros a GPU is faster than it is."""
    x_RI = 3 * torch.randn(rows, shape.inputs, device=device)
    weight_OI = 3 * torch.randn(shape.outputs, shape.inputs, device=device)
    return x_RI.to(dtype), weight_OI.to(dtype).t()
