"""What the network is told of its shape, as small frozen values.

Who reads them from a folder: checkpoints/config.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.terms import Activation, AttentionType, HeadKind, PoolingKind, ProblemType, TaskName


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """The encoder's shape and rule. `block_size` and `max_positions` are in tokens."""

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    max_positions: int
    type_vocab_size: int
    block_size: int
    random_blocks: int
    attention_type: AttentionType
    activation: Activation
    norm_eps: float
    use_bias: bool
    rescale_embeddings: bool

    @property
    def form(self) -> dict[str, object]:
        """What of it is hashed into a scoring key: all, for each of these changes what a window's scores are."""
        return {
            "vocabulary": self.vocab_size,
            "hidden": self.hidden_size,
            "layers": self.layers,
            "heads": self.heads,
            "intermediate": self.intermediate_size,
            "positions": self.max_positions,
            "token types": self.type_vocab_size,
            "block": self.block_size,
            "random blocks": self.random_blocks,
            "attention": self.attention_type,
            "activation": self.activation,
            "epsilon": self.norm_eps,
            "bias": self.use_bias,
            "rescaled": self.rescale_embeddings,
        }

    @property
    def full_attention_limit(self) -> int:
        """The longest window, in tokens, in which every token sees every other.

        (5 + 2r) blocks (modeling_big_bird.py, `max_tokens_to_attend`), compared with the length
        BEFORE it is rounded up to whole blocks; every window if the attention is full anyway.
        """
        if self.attention_type == "original_full":
            return self.max_positions
        return (5 + 2 * self.random_blocks) * self.block_size


@dataclass(frozen=True, slots=True)
class FixedOutputs:
    """Outputs that aren't for a checkpoint to name: what they are for, and whether each token or window has a row."""

    task: TaskName
    per_token: bool
    problem_type: ProblemType
    labels: tuple[str, ...]


# Here, and not with the heads' layers: planning reads it, which has no torch.
FIXED_OUTPUTS: Mapping[HeadKind, FixedOutputs] = {
    "question_answering": FixedOutputs(
        "question_answering", per_token=True, problem_type="single_label", labels=("start", "end")
    ),
    # one for each word of the vocabulary
    "masked_lm": FixedOutputs("masked_lm", per_token=True, problem_type="single_label", labels=()),
    # the pooled hidden state
    "none": FixedOutputs("embedding", per_token=False, problem_type="regression", labels=()),
}


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Where the head looks, what it computes, and what its outputs are called, in their order.

    A binary problem has one output and two labels: below the threshold and above. What each pooling and head is, its
    class says (kinds.py). `attention_size` and `dense_size` are the inner units of the parts of these names.

    `sep_token_id` ends the question in question answering, and is None elsewhere.
    """

    pooling: PoolingKind
    head: HeadKind
    problem_type: ProblemType
    labels: tuple[str, ...]
    attention_size: int | None = None
    dense_size: int | None = None
    sep_token_id: int | None = None

    @property
    def form(self) -> dict[str, object]:
        """What of it is hashed into a scoring key: neither labels nor problem type, which turn scores into labels.

        The inner sizes are those of the weights, which are hashed themselves.
        """
        return {"pooling": self.pooling, "head": self.head, "separator": self.sep_token_id}

    @property
    def task(self) -> TaskName:
        """What the outputs are for."""
        if fixed := FIXED_OUTPUTS.get(self.head):
            return fixed.task
        return "token_classification" if self.pooling == "tokens" else "classification"

    def outputs(self, encoder: EncoderConfig) -> int:
        """L: how many numbers the head computes of each window or token."""
        match self.task:
            case "embedding":
                return encoder.hidden_size
            case "masked_lm":
                return encoder.vocab_size
            case _:
                return 1 if self.problem_type == "binary" else len(self.labels)
