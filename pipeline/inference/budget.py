"""How many tokens one pack may have.

What a forward pass needs beside the weights grows linearly with the pack. Measured with BigBird-base on a CPU, where it
is the difference of the process's resident memory between packs of 16,384 and 32,768 tokens:

    bfloat16   23 kB per token    15 * hidden_size elements
    float32    47 kB per token    15 * hidden_size elements

Speed asks for little of it. On a CPU packs of 4,096 to 32,768 tokens take the same time per token (within 3 %), so the
default is the least that holds two full windows. A GPU needs tens of thousands of tokens for its launches to cost
nothing: by a model, which no measurement has confirmed yet, 84 launches are 0.7 ms of an H200, 65,536 tokens 22 ms.
"""

from pipeline.bigbird.model_config import EncoderConfig
from pipeline.terms import DeviceKind

DEFAULT_TOKENS = {"cpu": 8_192, "cuda": 65_536}
ELEMENTS_PER_TOKEN = 16  # times hidden_size
SHARE = 4  # one part in 4 of the memory is for packs; weights and other processes have the rest


def default_budget(device: DeviceKind) -> int:
    """Gives the tokens in a pack where the job file names none."""
    return DEFAULT_TOKENS[device]


def largest_pack(memory: int, config: EncoderConfig, element_size: int) -> int:
    """Counts the tokens that `memory` bytes of a device hold at once: packs above that are computed in halves."""
    return memory // SHARE // (ELEMENTS_PER_TOKEN * config.hidden_size * element_size)
