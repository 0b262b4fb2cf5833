"""Which implementation of the encoder's operators a device gets: the one place that asks."""

import importlib.util
import logging
from dataclasses import dataclass, replace

import torch

from pipeline.bigbird.attention import SDPA, Attention
from pipeline.bigbird.attention_avx512 import AMX, AVX512
from pipeline.bigbird.avx512_library import why_no_avx512, why_no_tiles
from pipeline.bigbird.gelu_avx512 import MkldnnGeluLinear
from pipeline.bigbird.linear import ROWS, MakeProduct, keep
from pipeline.bigbird.linear_cuda import CudaLinear
from pipeline.bigbird.linear_int8 import Int8Linear
from pipeline.bigbird.linear_int8_avx512 import Avx512Int8Linear
from pipeline.bigbird.linear_mkldnn import MkldnnLinear
from pipeline.bigbird.model_config import EncoderConfig
from pipeline.bigbird.norm import TORCH_NORMS, Norms
from pipeline.bigbird.norm_avx512 import AVX512_NORMS
from pipeline.errors import ConfigError

_log = logging.getLogger(__name__)

# What the Triton kernels are checked for.
BLOCK_SIZES = (16, 32, 64, 128)
HEAD_SIZES = (32, 64, 128)
CAPABILITY = (8, 0)

# What the attention in C takes. It fills blocks and heads up to 32, so that smaller blocks would mostly be filling.
C_BLOCK_SIZES = range(16, 129)
C_HEAD_SIZES = range(8, 257, 2)
# Rows of one product where oneDNN has AMX: its kernels for fewer take longer. Milliseconds for 4,096 rows of a layer's
# four products on 2 cores of a Xeon: 35 by 256, 43 by 512, 34 by 1,024, 22 by 2,048; 21 by 4,096, which fill up more.
# Without AMX, on an AMD EPYC, 256 rows take 3 % longer than 512 and 7 % longer than 4,096: filling up would cost that.
AMX_ROWS = 2_048


# The products that have what follows them in C, by those that have it from torch.
IN_C: dict[MakeProduct, MakeProduct] = {MkldnnLinear: MkldnnGeluLinear, Int8Linear: Avx512Int8Linear}


@dataclass(frozen=True, slots=True)
class Operators:
    """The defaults run everywhere and have gradients."""

    attention: Attention = SDPA
    norms: Norms = TORCH_NORMS
    product: MakeProduct = keep
    rows: int = ROWS  # of one product on a CPU (linear.py)


def fastest_operators(config: EncoderConfig, device: str, dtype: torch.dtype, *, int8: bool = False) -> Operators:
    """For inference, of an encoder in `dtype`. Where the kernels cannot serve the device, one log line says why."""
    if not device.startswith("cuda"):
        return _cpu_operators(config, dtype, int8)
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


def cpu_kernels() -> str:
    """Says which operators in C this machine's processor gets in bf16, or why it gets none: a line for people."""
    if reason := why_no_avx512():
        return f"attention, norms and GELU by torch, slower: {reason}"
    if reason := why_no_tiles():
        return f"attention, norms and GELU in C with AVX-512, without AMX's tiles: {reason}"
    return "attention, norms and GELU in C with AVX-512 and AMX's tiles"


def _cpu_operators(config: EncoderConfig, dtype: torch.dtype, int8: bool) -> Operators:
    product = _cpu_product(int8)
    if dtype != torch.bfloat16:  # what is in C is in bfloat16
        return Operators(product=product)
    if why_no_avx512():
        _log.warning("%s", cpu_kernels())
        return Operators(product=product)
    _log.info("%s", cpu_kernels())
    operators = Operators(AVX512, AVX512_NORMS, IN_C.get(product, product))
    if not why_no_tiles():
        operators = replace(operators, attention=AMX, rows=ROWS if int8 else AMX_ROWS)
    if reason := _why_no_attention_in_c(config):
        _log.warning("attention runs as sdpa instead of in C, slower: %s", reason)
        operators = replace(operators, attention=SDPA)
    return operators


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


def _why_no_attention_in_c(config: EncoderConfig) -> str | None:
    head_size = config.hidden_size // config.heads
    if head_size not in C_HEAD_SIZES:
        return f"head size is {head_size}; expected an even one from {C_HEAD_SIZES[0]} to {C_HEAD_SIZES[-1]}"
    if config.block_size not in C_BLOCK_SIZES:
        return f"block_size is {config.block_size}; expected one from {C_BLOCK_SIZES[0]} to {C_BLOCK_SIZES[-1]}"
    return None


def _why_no_triton_attention(config: EncoderConfig) -> str | None:
    head_size = config.hidden_size // config.heads
    if head_size not in HEAD_SIZES:
        return f"head size is {head_size}; expected one of {HEAD_SIZES}"
    if config.block_size not in BLOCK_SIZES:
        return f"block_size is {config.block_size}; expected one of {BLOCK_SIZES}"
    return None
