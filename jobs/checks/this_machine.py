"""What this machine has: cores, memory, what its processors multiply, room on its disks."""

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.checks.examination import Check
from jobs.finding import Finding
from jobs.terminal.console import byte_count
from pipeline.cluster.connection import OBJECT_STORE_BYTES
from pipeline.cores import CPUINFO, available_cores, available_memory, cpu_flags
from pipeline.inference.dtype import BF16_FLAGS, INT8_FLAGS, resolve_dtype
from pipeline.storage.local import nearest_above

LITTLE_MEMORY = 4_000_000_000  # below it a BigBird-base, its packs, Ray and a reader leave nothing
LITTLE_DISK = 2_000_000_000
FULL_SHARE = 0.95  # Ray's own limit: a disk that is fuller takes no objects
BF16_CAPABILITY = (8, 0)
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as torch sees it."""

    name: str
    memory: int  # bytes
    capability: tuple[int, int]


def machine_checks(num_gpus: float = 0) -> list[Check]:
    """Lists the checks of this machine; `num_gpus` is how many a job asks of it."""
    return [
        Check("CPU", lambda: [processor()], "read /proc/cpuinfo"),
        Check("CPU kernels", lambda: [cpu_operators()], "read /proc/cpuinfo"),
        Check("memory", lambda: [memory_room(available_memory())], "read /proc/meminfo"),
        Check("GPU", lambda: gpus(num_gpus), "look whether `nvidia-smi` answers"),
        Check("disks", disks, "look at them with `df`"),
    ]


def processor(cpuinfo: Path = CPUINFO) -> Finding:
    """Looks at the CPU: how many cores this process may use, and which dtype `auto` comes to on them."""
    useful = sorted(cpu_flags(cpuinfo) & (BF16_FLAGS | INT8_FLAGS))
    features = ", ".join(useful) or "neither bf16 nor int8 in hardware"
    cores = available_cores()
    dtype = resolve_dtype("auto", "cpu", cpuinfo)
    return Finding("CPU", "ok", f"{cores} core{'' if cores == 1 else 's'}; {features}: `auto` computes in {dtype}")


def cpu_operators() -> Finding:
    """Looks at which operators an encoder gets on this processor in bf16."""
    from pipeline.bigbird.avx512_library import NEEDED_FLAGS, avx512_library
    from pipeline.bigbird.operators import cpu_kernels

    if avx512_library() or not cpu_flags() >= NEEDED_FLAGS:
        return Finding("CPU kernels", "ok", cpu_kernels())
    return Finding(
        "CPU kernels", "warning", cpu_kernels(), "install a C compiler (gcc 11 or newer), then Rookery again"
    )


def memory_room(total: int) -> Finding:
    """Looks at the memory that this process may take."""
    if total >= LITTLE_MEMORY:
        return Finding("memory", "ok", f"{byte_count(total)} for this process and its children")
    advice = f"give the container or the machine {byte_count(LITTLE_MEMORY)} at least, or set units.text_bytes lower"
    return Finding("memory", "warning", f"{byte_count(total)}, which is little for an encoder and Ray", advice)


def gpus(num_gpus: float) -> Iterator[Finding]:
    """Looks at the GPUs through torch, and at the driver."""
    import torch

    with warnings.catch_warnings(record=True) as told:  # torch says so where a driver is too old for it
        warnings.simplefilter("always")
        seen = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        usable = torch.cuda.is_available()
    devices = [Gpu(each.name, each.total_memory, (each.major, each.minor)) for each in seen] if usable else []
    torch_build = f"torch {torch.__version__}"
    yield from gpu_findings(devices, num_gpus, nvidia_driver(), torch_build, "; ".join(str(w.message) for w in told))


def nvidia_driver(version: Path = NVIDIA_DRIVER) -> str | None:
    """Gives the version of NVIDIA's driver in this machine's kernel; None where there is none."""
    text = version.read_text(encoding="utf-8", errors="replace") if version.is_file() else ""
    number = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", text)
    return number[0] if number else None


def gpu_findings(
    devices: list[Gpu], num_gpus: float, driver: str | None, torch_build: str, told: str = ""
) -> Iterator[Finding]:
    """Says what is well and what isn't of the GPUs that torch sees, and of those that it should see."""
    for number, gpu in enumerate(devices):
        seen = f"{gpu.name}, {byte_count(gpu.memory)}, driver {driver or 'unknown'}"
        if gpu.capability >= BF16_CAPABILITY:
            yield Finding(f"GPU {number}", "ok", f"{seen}: `auto` computes in bf16")
        else:
            capability = ".".join(map(str, gpu.capability))
            seen = f"{seen}; it has no bf16 in hardware (compute capability {capability})"
            yield Finding(f"GPU {number}", "warning", seen, "set compute.dtype to fp32")
    missing = num_gpus > len(devices)
    if driver and not devices:
        seen = f"NVIDIA's driver {driver} is there, and {torch_build} sees no GPU{f' ({told})' if told else ''}"
        advice = "install torch's build for CUDA, or a newer driver; in a container, give it the GPU (--gpus all)"
        yield Finding("GPU", "failure" if missing else "warning", seen, advice)
    elif missing:
        seen = f"{len(devices) or 'none'} here, and the job asks for {num_gpus:g}"
        yield Finding("GPU", "failure", seen, "set compute.num_gpus or compute.actors lower, or name a ray.address")
    elif not devices:
        yield Finding("GPU", "ok", "none: encoders compute on the CPU")


def disks() -> Iterator[Finding]:
    """Looks at the room in the folders that runs on this machine write to."""
    yield disk("temporary folder", Path(tempfile.gettempdir()), LITTLE_DISK, "set TMPDIR to a larger disk")
    hub = Path(os.environ.get("HF_HOME", Path.home() / ".cache/huggingface"))
    yield disk("hub's cache", hub, LITTLE_DISK, "set HF_HOME to a larger disk")
    advice = "give the container more (docker run --shm-size=2g, an emptyDir in memory on Kubernetes)"
    yield disk("shared memory", Path("/dev/shm"), OBJECT_STORE_BYTES, advice)


def disk(subject: str, folder: Path, little: int, advice: str) -> Finding:
    """Looks at the free room where a folder is, or will be."""
    try:
        room = shutil.disk_usage(folder if folder.is_dir() else nearest_above(folder))
    except OSError as error:
        return Finding(subject, "warning", f"{folder}: can't be looked at ({error})", advice)
    seen = f"{byte_count(room.free)} free in {folder}"
    if room.free < little:
        return Finding(subject, "warning", f"{seen}, which is little: runs want {byte_count(little)}", advice)
    if room.free < (1 - FULL_SHARE) * room.total:
        return Finding(subject, "warning", f"{seen}, and Ray takes a disk for full from {FULL_SHARE:.0%} on", advice)
    return Finding(subject, "ok", seen)
