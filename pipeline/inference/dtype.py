"""Which number format to compute in; asked before torch is imported anywhere."""

from pathlib import Path

from pipeline.cores import CPUINFO, cpu_flags
from pipeline.errors import ConfigError
from pipeline.terms import DeviceKind, Dtype

BF16_FLAGS = {"avx512_bf16", "amx_bf16"}  # without one of them bf16 is slower than fp32
INT8_FLAGS = {
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
}  # without one of them sums of products may overflow


def resolve_dtype(name: str, device: DeviceKind, cpuinfo: Path = CPUINFO) -> Dtype:
    """Resolves `auto`: bf16 where the device multiplies it in hardware, else fp32; int8 is never chosen unasked.

    Raises:
        ConfigError: `name` is none of auto, bf16, fp32 and int8, or the device cannot compute in it.
    """
    match name:
        case "bf16" | "fp32":
            return name
        case "auto":
            return "bf16" if device == "cuda" or cpu_has(BF16_FLAGS, cpuinfo) else "fp32"
        case "int8":
            if device == "cuda":
                raise ConfigError("dtype is 'int8', which is for CPUs; with GPUs use auto")
            if not cpu_has(INT8_FLAGS, cpuinfo):
                raise ConfigError(f"dtype is 'int8', but this CPU has none of {sorted(INT8_FLAGS)}; use auto")
            return name
        case _:
            raise ConfigError(f"dtype is {name!r}; expected one of auto, bf16, fp32, int8")


def cpu_has(flags: set[str], cpuinfo: Path = CPUINFO) -> bool:
    """Tells whether this machine's CPU has one of `flags`; False where Linux does not say."""
    return not flags.isdisjoint(cpu_flags(cpuinfo))
