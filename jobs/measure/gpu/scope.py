"""How much is measured: what fills a GPU, or what Triton's interpreter computes in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from pipeline.terms import DeviceKind, Dtype, LongDocuments

GPU_TESTS = (
    "tests/bigbird/test_attention_triton.py",
    "tests/bigbird/test_norm_triton.py",
    "tests/bigbird/test_linear.py",
    "tests/inference/test_device.py",
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Sizes are in tokens, unless they say otherwise; `config` goes over that of BigBird-base."""

    device: DeviceKind
    dtype: Dtype  # the fast one
    config: Mapping[str, int]
    tests: tuple[str, ...]  # pytest's arguments
    lengths: tuple[int, ...]
    parity_lengths: tuple[int, ...]
    documents: int  # of the sample, and of the real mix
    tokens: int  # of each length
    rounds: int
    pack: int
    budgets: tuple[int, ...]
    training_pack: int
    training_packs: int  # of a step
    feeders: int  # processes that read, tokenize and pack
    fed_units: int
    fed_documents: int  # of a unit, at most all of the sample's
    long_documents: LongDocuments

    @property
    def longest(self) -> int:
        """The longest window."""
        return self.lengths[-1]


ONE_GPU = Scope(
    device="cuda",
    dtype="bf16",
    config={},
    tests=("-m", "gpu", *GPU_TESTS),
    lengths=(128, 256, 512, 1024, 2048, 4096),
    parity_lengths=(1, 64, 65, 300, 704, 705, 1000, 2049, 4095, 4096),
    documents=500,
    tokens=262_144,
    rounds=5,
    pack=65_536,
    budgets=tuple(2**power for power in range(14, 23)),
    training_pack=16_384,
    training_packs=4,
    feeders=8,
    fed_units=24,
    fed_documents=500,
    long_documents="windows",
)
INTERPRETED = Scope(
    device="cpu",
    dtype="fp32",  # the interpreter multiplies the bits of bf16 (triton issue 11584)
    config={
        "vocab_size": 8_000,
        "hidden_size": 32,
        "num_attention_heads": 1,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "block_size": 16,
        "num_random_blocks": 1,
        "max_position_embeddings": 256,
    },
    tests=("-k", "interpreter and test_add_norm and 12-", "tests/bigbird/test_norm_triton.py"),
    lengths=(32, 128),
    parity_lengths=(17, 128),
    documents=4,
    tokens=128,
    rounds=1,
    pack=128,
    budgets=(64,),
    training_pack=128,
    training_packs=2,
    feeders=1,
    fed_units=1,
    fed_documents=2,
    long_documents="head",
)


def scope_of_this_machine() -> Scope:
    """Chooses by whether there is a GPU."""
    return ONE_GPU if torch.cuda.is_available() else INTERPRETED
