"""Each part of the encoder beside its floor, on windows of 4,096 tokens.

The floor of a product is its FLOPs at the rate of the bare product, that of a pass over memory its bytes at the
bandwidth of a copy; the attention's is the larger of the two, at the mean rate of the bare products.

Shapes: T rows of the pack, X outputs of the fused projection; D hidden, F intermediate size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from jobs.measure.benchmark.machine import Shape, copy_bandwidth, gemm_rate, shapes
from jobs.measure.benchmark.timing import micro_medians
from jobs.measure.benchmark.token_windows import MAX_TOKENS
from pipeline.bigbird.cache import at_once
from pipeline.bigbird.encoder import Layer
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.linear import ANY_ROWS
from pipeline.bigbird.model_config import EncoderConfig
from pipeline.inference.memory import keep_freed_memory
from pipeline.inference.predictor import Predictor

GLOBAL_BLOCKS, SEEN_BLOCKS = 2, 5


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the encoder's pass over a pack, in all layers that have it."""

    name: str
    seconds: float
    floor_seconds: float


@dataclass(frozen=True, slots=True)
class Stages:
    """Figures of one pass over `tokens` tokens; rates in FLOP/s, bandwidth in bytes per second.

    The shares compare the pass with its products alone: of all layers whole, and of what a head on [CLS] needs.
    """

    tokens: int
    stages: list[Stage]
    pass_seconds: float
    gemm_rates: dict[str, float]
    bandwidth: float
    share_of_gemm_floor: float
    share_of_gemm_floor_first_rows_only: float


@torch.inference_mode()
def measure_stages(predictor: Predictor, windows: int, device: str, length: int = MAX_TOKENS) -> Stages:
    """Measures a pass over a pack of windows of `length` tokens, each of its parts, and what the machine allows."""
    keep_freed_memory()
    encoder, config = predictor.classifier.encoder, predictor.classifier.encoder_config
    lengths = np.full(windows, length)
    layout = Layout.of(lengths, config).to(device)
    token_id_T = torch.randint(100, 8_000, (layout.rows,), device=device)
    layer, last = encoder.layers[0], encoder.layers[-1]
    assert isinstance(layer, Layer)
    assert isinstance(last, Layer)
    hidden_TD = encoder.embeddings(token_id_T, layout)
    qkv_TX = layer.qkv(hidden_TD)
    inner_TF = layer.up.activated(hidden_TD, config.activation)
    operators = layer.operators
    products = shapes(config.hidden_size, config.intermediate_size)
    rates = {shape.name: gemm_rate(shape, layout.rows, hidden_TD.dtype, device, operators) for shape in products}
    bandwidth = copy_bandwidth(device)
    mean_rate = sum(shape.flops for shape in products) / sum(shape.flops / rates[shape.name] for shape in products)
    layers = config.layers - 1
    in_parts = partial(_in_parts, operators.rows)
    times = micro_medians(
        {
            "embeddings + norm": lambda: encoder.embeddings(token_id_T, layout),
            "queries, keys, values": lambda: layer.qkv(hidden_TD),
            "attention": lambda: operators.attention.every_row(qkv_TX, layout, config.heads),
            "attention output": in_parts(layer.out, hidden_TD),
            "add + norm": in_parts(lambda x_RD: operators.norms.add_norm(x_RD, x_RD, layer.output_norm), hidden_TD),
            "up + activation": in_parts(lambda x_RD: layer.up.activated(x_RD, config.activation), hidden_TD),
            "down": in_parts(layer.down, inner_TF),
            "last layer, first rows": lambda: last.first_rows(hidden_TD, layout),
        },
        device,
    )
    whole = micro_medians({"pass": lambda: predictor.classifier(token_id_T, layout)}, device)["pass"]
    counts = {"embeddings + norm": 1, "add + norm": 2 * layers, "last layer, first rows": 1}
    floors = _floors(products, rates, mean_rate, bandwidth, config, layout.rows, length, hidden_TD.element_size())
    stages = [
        Stage(name, once * counts.get(name, layers), floors[name] * counts.get(name, layers))
        for name, once in times.items()
    ]
    every, needed = pass_flops(products, config, layout.rows, length)
    return Stages(
        tokens=layout.rows,
        stages=stages,
        pass_seconds=whole,
        gemm_rates=rates,
        bandwidth=bandwidth,
        share_of_gemm_floor=every / mean_rate / whole,
        share_of_gemm_floor_first_rows_only=needed / mean_rate / whole,
    )


def _in_parts(rows: int, work: Callable[[Tensor], Tensor], x_TD: Tensor) -> Callable[[], None]:
    """As the encoder does it, so that it is measured in the cache where it runs in the cache."""

    def parts() -> None:
        for x_RD in torch.split(x_TD, at_once(x_TD, cpu=rows, otherwise=ANY_ROWS)):
            work(x_RD)

    return parts


def _attention_flops(config: EncoderConfig, rows: int, length: int) -> int:
    """Of one layer: the products of queries and keys, and of probabilities and values (docs/encoder.md)."""
    blocks = length // config.block_size
    keys = (SEEN_BLOCKS * (blocks - GLOBAL_BLOCKS) + GLOBAL_BLOCKS * blocks) / blocks * config.block_size
    return int(rows * keys * config.hidden_size * 4)


def pass_flops(
    products: tuple[Shape, ...], config: EncoderConfig, rows: int, length: int = MAX_TOKENS
) -> tuple[float, float]:
    """Counts the operations of a pass: of all layers whole, and of what a head on [CLS] needs of them."""
    layer = rows * sum(shape.flops for shape in products) + _attention_flops(config, rows, length)
    keys_and_values = rows * products[0].flops * 2 / 3
    return layer * config.layers, layer * (config.layers - 1) + keys_and_values


def _floors(
    products: tuple[Shape, ...],
    rates: dict[str, float],
    mean_rate: float,
    bandwidth: float,
    config: EncoderConfig,
    rows: int,
    length: int,
    element_size: int,
) -> dict[str, float]:
    qkv, out, up, down = (rows * shape.flops / rates[shape.name] for shape in products)
    one_pass = rows * config.hidden_size * element_size / bandwidth  # over the hidden states, read or written
    return {
        "embeddings + norm": 3 * one_pass,
        "queries, keys, values": qkv,
        "attention": max(_attention_flops(config, rows, length) / mean_rate, 4 * one_pass),
        "attention output": out,
        "add + norm": 3 * one_pass,
        "up + activation": up,
        "down": down,
        "last layer, first rows": qkv * 2 / 3,
    }
