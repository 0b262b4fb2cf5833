"""What the network is told of its shape, as small frozen values.

Who reads them from a folder: checkpoints/config.py.
"""

from dataclasses import dataclass

from pipeline.terms import Activation, AttentionType, HeadKind, Pooling, ProblemType, TaskName


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
class HeadConfig:
    """Where the head looks, what it computes, and what its outputs are called, in their order.

    A binary problem has one output and two labels: below the threshold and above.

    pooling    cls        the first token's hidden state
               pooler     the same through dense and tanh
               mean, max  of all tokens of the window
               attention  their mean, weighted by a softmax of linear(hidden), or, where there is an
                          `attention_size`, of linear(tanh(dense(hidden))) with so many inner units
               tokens     none: one row of outputs for each token
    head       linear     linear(pooled)
               dense      linear(relu(dense(pooled))), with `dense_size` inner units, or the hidden size
               bigbird    linear(activation(dense(pooled))), with the encoder's activation
               question_answering  transformers' own, on tokens: where an answer starts and ends
               masked_lm  transformers' own, on tokens: which word of the vocabulary stands there
               none       the pooled hidden state

    `sep_token_id` ends the question in question answering, and is None elsewhere.
    """

    pooling: Pooling
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
        match self.head:
            case "question_answering" | "masked_lm":
                return self.head
            case "none":
                return "embedding"
            case _:
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
