"""BigBird's encoder over a pack: post-LN transformer layers with fused QKV weights.

Parameters are ours; checkpoints/names.py knows what transformers calls them. Its dropouts are places that drop
nothing: training puts its own there (training/dropout.py). Train mode changes nothing else:
transformers draws its random blocks in train mode, we do not.
"""

import math

import torch
from torch import Tensor, nn

from pipeline.bigbird.cache import at_once
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.linear import ANY_ROWS, ROWS, Linear, Outputs
from pipeline.bigbird.model_config import EncoderConfig
from pipeline.bigbird.norm import Tables, torch_embed_norm
from pipeline.bigbird.operators import Operators


class Encoder(nn.Module):
    """Token ids of a pack -> the last hidden states. Its parameters are uninitialised."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def use(self, operators: Operators, *, first_rows: bool) -> None:
        """Computes with `operators` from now on; `first_rows` says which of the two is called."""
        self.embeddings.operators = operators
        for layer in self.layers:
            assert isinstance(layer, Layer)
            layer.use(operators, first_rows=first_rows and layer is self.layers[-1])

    def forward(self, token_id_T: Tensor, layout: Layout, token_type_T: Tensor | None = None) -> Tensor:
        """The last hidden state of every row, hidden_TD; padding rows hold nothing of meaning."""
        hidden_TD: Tensor = self.embeddings(token_id_T, layout, token_type_T)
        for layer in self.layers:
            hidden_TD = layer(hidden_TD, layout)
        return hidden_TD

    def first_rows(self, token_id_T: Tensor, layout: Layout) -> Tensor:
        """hidden_WD: `forward` at each window's first token, without the rest of the last layer."""
        hidden_TD: Tensor = self.embeddings(token_id_T, layout)
        for layer in self.layers[:-1]:
            hidden_TD = layer(hidden_TD, layout)
        last = self.layers[-1]
        assert isinstance(last, Layer)
        return last.first_rows(hidden_TD, layout)


def _embedding(rows: int, size: int) -> nn.Embedding:
    """Leaves the weights as they are: to draw them, torch would import its compiler in every process of a job."""
    return nn.Embedding(rows, size, _weight=torch.empty(rows, size))


class Embeddings(nn.Module):
    """Word, position and token type, which is 0 unless given, normalised. Positions restart in each window."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.word = _embedding(config.vocab_size, config.hidden_size)
        self.position = _embedding(config.max_positions, config.hidden_size)
        self.token_type = _embedding(config.type_vocab_size, config.hidden_size)
        self.operators = Operators()
        self.norm = nn.LayerNorm(config.hidden_size, config.norm_eps)
        self.dropout = nn.Dropout(0.0)
        self.scale = math.sqrt(config.hidden_size) if config.rescale_embeddings else None

    def forward(self, token_id_T: Tensor, layout: Layout, token_type_T: Tensor | None = None) -> Tensor:
        """Computes hidden_TD; `token_type_T` is 0 in every row unless it is given."""
        embed_norm, token_type = self.operators.norms.embed_norm, self.token_type.weight[0]
        if token_type_T is not None:  # the kernels know one type for all rows
            embed_norm, token_type = torch_embed_norm, self.token_type(token_type_T)
        tables = Tables(self.word.weight, self.position.weight, token_type, self.scale)
        return embed_norm(token_id_T, layout.position_T, tables, self.dropout, self.norm)


class Layer(nn.Module):
    """One transformer layer: attention and feed-forward part, each with its residual and norm behind it."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.heads
        self.activation = config.activation
        self.operators = Operators()
        self.qkv = Linear(size, 3 * size, bias=config.use_bias)  # outputs: queries, keys, values
        self.queries: Outputs = (0, size)
        self.keys_and_values: Outputs = (size, 3 * size)
        self.out = Linear(size, size)
        self.attention_norm = nn.LayerNorm(size, config.norm_eps)
        self.up = Linear(size, config.intermediate_size)
        self.down = Linear(config.intermediate_size, size)
        self.output_norm = nn.LayerNorm(size, config.norm_eps)
        self.dropout = nn.Dropout(0.0)

    def use(self, operators: Operators, *, first_rows: bool) -> None:
        """Computes with `operators` from now on; with `first_rows` only that method may be called."""
        self.operators = operators
        outputs = {"qkv": (self.queries, self.keys_and_values)} if first_rows else {}
        rows_of_others = ROWS if first_rows else operators.rows  # a window has one row there: few are to be filled up
        for name in ("qkv", "out", "up", "down"):
            linear = getattr(self, name)
            assert isinstance(linear, Linear), "operators for inference leave no way back"
            rows = operators.rows if name == "qkv" else rows_of_others
            setattr(self, name, operators.product(linear, outputs.get(name, (None,)), rows))

    def forward(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        """Computes hidden_TD of the next layer."""
        every_row = self.operators.attention.every_row
        context_TD = every_row(self.qkv(hidden_TD), layout, self.heads)
        return self._after_attention(hidden_TD, context_TD)

    def first_rows(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        """hidden_WD: keys and values of all rows, everything else of each window's first row."""
        first_WD = hidden_TD[layout.first_row_W]
        q_WD = self.qkv(first_WD, self.queries)
        kv_TX = self.qkv(hidden_TD, self.keys_and_values)
        context_WD = self.operators.attention.first_rows(q_WD, kv_TX, layout, self.heads)
        return self._after_attention(first_WD, context_WD)

    def _after_attention(self, hidden_RD: Tensor, context_RD: Tensor) -> Tensor:
        """What each row needs of itself only; R is T, or W in the last layer."""
        # the last ones are filled up in each product
        rows = at_once(hidden_RD, cpu=self.operators.rows, otherwise=ANY_ROWS)
        parts = zip(torch.split(hidden_RD, rows), torch.split(context_RD, rows), strict=True)
        hidden_parts = [self._part_after_attention(*part) for part in parts]
        return hidden_parts[0] if len(hidden_parts) == 1 else torch.cat(hidden_parts)

    def _part_after_attention(self, hidden_RD: Tensor, context_RD: Tensor) -> Tensor:
        add_norm = self.operators.norms.add_norm
        update_RD = self.dropout(self.out(context_RD))
        hidden_RD = add_norm(hidden_RD, update_RD, self.attention_norm)
        inner_RF = self.up.activated(hidden_RD, self.activation)
        update_RD = self.dropout(self.down(inner_RF))
        return add_norm(hidden_RD, update_RD, self.output_norm)
