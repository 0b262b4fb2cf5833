"""Encoder, pooling and head: token ids and a layout in, logits out: a row for each window, or for each token."""

from typing import Self

import torch
from torch import Tensor, nn

from pipeline.bigbird.encoder import Encoder
from pipeline.bigbird.kinds import HEADS, POOLINGS
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.model_config import EncoderConfig, HeadConfig
from pipeline.bigbird.operators import Operators
from pipeline.bigbird.questions import context_of, without_questions

INITIAL_STANDARD_DEVIATION = 0.02  # transformers' initializer_range


class Classifier(nn.Module):
    """The encoder has `dtype`; pooling and head are float32 always: they are small, and logits keep their bits.

    Its parameters are uninitialised: see `fresh`, and `load_classifier` in checkpoints/names.py.
    """

    def __init__(self, encoder: EncoderConfig, head: HeadConfig, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.encoder_config = encoder
        self.head_config = head
        with torch.device("meta"):  # nobody needs torch's own initial values
            self.encoder = Encoder(encoder)
            self.pooling = POOLINGS[head.pooling](encoder, head)
            self.head = HEADS[head.head].of(encoder, head, self.encoder.embeddings.word)
        self.encoder.to(dtype)
        # not `to_empty`: it imports sympy, up to a second of CPU in each process that loads a checkpoint
        self._apply(_empty_on_cpu)  # type: ignore[no-untyped-call]

    @classmethod
    def fresh(cls, encoder: EncoderConfig, head: HeadConfig, *, seed: int) -> Self:
        """For training from scratch: weights normal(0, 0.02), biases 0, norms 1; float32."""
        classifier = cls(encoder, head)
        initialise(classifier, seed)
        return classifier

    def use(self, operators: Operators) -> None:
        """Computes with `operators` from now on; if they are for inference, there is no way back."""
        self.encoder.use(operators, first_rows=self.pooling.first_rows_only)

    def forward(self, token_id_T: Tensor, layout: Layout) -> Tensor:
        """The head's outputs, float32, before any softmax or sigmoid.

        task                  outputs
        classification        logits_WL, an output for each label
        embedding             pooled_WL, an output for each hidden unit
        token_classification  logits_NL, an output for each label; the N tokens are those of the windows, end to end
        question_answering    logits_NL, outputs start and end; 1e6 less in the question, up to the window's first
                              separator
        masked_lm             logits_NL, an output for each word

        token_id_T is on the classifier's device, as is the layout; `Layout.spread` makes it.
        """
        if self.pooling.first_rows_only:
            return self._outputs(self.encoder.first_rows(token_id_T, layout), layout)
        sep_token_id = self.head_config.sep_token_id
        if sep_token_id is None:
            return self._outputs(self.encoder(token_id_T, layout), layout)
        context_T = context_of(token_id_T, layout, sep_token_id)
        hidden_TD = self.encoder(token_id_T, layout, token_type_T=context_T.long())
        return without_questions(self._outputs(hidden_TD, layout), context_T, layout)

    def _outputs(self, hidden: Tensor, layout: Layout) -> Tensor:
        outputs: Tensor = self.head(self.pooling(hidden, layout))
        return outputs


def _empty_on_cpu(parameter: Tensor) -> Tensor:
    return torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")


def initialise(module: nn.Module, seed: int) -> None:
    """Fills every parameter of `module`, on the CPU: weights normal(0, 0.02), biases 0, norms 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, 0, INITIAL_STANDARD_DEVIATION, generator)
        else:  # the weight of a norm, or a bias
            nn.init.constant_(parameter, float(name.endswith("weight")))
