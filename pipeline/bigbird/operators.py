"""Which implementation of the encoder's operators a device gets: the one place that asks."""

import importlib.util
import logging
from dataclasses import dataclass

import torch

from pipeline.bigbird.attention import SDPA, Attention
from pipeline.bigbird.linear import MakeProduct, keep
from pipeline.bigbird.linear_cuda import CudaLinear
from pipeline.bigbird.linear_int8 import Int8Linear
from pipeline.bigbird.linear_mkldnn import MkldnnLinear
from pipeline.bigbird.model_config import EncoderConfig
from pipeline.bigbird.norm import TORCH_NORMS, Norms
from pipeline.errors import ConfigError

_log = logging.getLogger(__name__)

# What the Triton kernels are checked for.
BLOCK_SIZES = (16, 32, 64, 128)
HEAD_SIZES = (32, 64, 128)
CAPABILITY = (8, 0)


@dataclass(frozen=True, slots=True)
class Operators:
    """The defaults run everywhere and have gradients."""

    attention: Attention = SDPA
    norms: Norms = TORCH_NORMS
    product: MakeProduct = keep


def fastest_operators(config: EncoderConfig, device: str, *, int8: bool = False) -> Operators:
    """For inference. Where the kernels cannot serve the device, one log line says why."""
    if not device.startswith("cuda"):
        return Operators(product=_cpu_product(int8))
    reason = _why_no_triton(device)
    if reason:
        _log.warning("attention and norms run without Triton kernels, slower: %s", reason)
        return Operators(product=CudaLinear)
    # Only here, because builds of torch for CPUs come without triton.
    from pipeline.bigbird.norm_triton import TRITON_NORMS

    reason = _why_no_triton_attention(config)
    if reason:
        _log.warning("attention runs as sdpa instead of triton, slower: %s", reason)
        return Operators(norms=TRITON_NORMS, product=CudaLinear)
    from pipeline.bigbird.attention_triton import TRITON

    return Operators(TRITON, TRITON_NORMS, CudaLinear)


def _cpu_product(int8: bool) -> MakeProduct:
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return Int8Linear if int8 else MkldnnLinear
    if int8:
        raise ConfigError("dtype is 'int8', which needs oneDNN: this build of torch has none; use auto")
    _log.warning("products with weights run without oneDNN, slower: this build of torch has none")
    return keep


def _why_no_triton(device: str) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    capability = torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        return f"compute capability is {capability}; expected at least {CAPABILITY}"
    return None


def _why_no_triton_attention(config: EncoderConfig) -> str | None:
    head_size = config.hidden_size // config.heads
    if head_size not in HEAD_SIZES:
        return f"head size is {head_size}; expected one of {HEAD_SIZES}"
    if config.block_size not in BLOCK_SIZES:
        return f"block_size is {config.block_size}; expected one of {BLOCK_SIZES}"
    return None
