"""Where in a window the question ends: windows are [CLS] question [SEP] context [SEP], as transformers assumes."""

import torch
from torch import Tensor

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.poolings.window_reductions import window_maxima

BARRED = 1e6  # transformers takes it from the logits of the question's tokens, so that none is an answer


def context_of(token_id_T: Tensor, layout: Layout, sep_token_id: int) -> Tensor:
    """context_T: True behind the window's first separator; where there is none, behind [CLS]."""
    ends_T1 = (token_id_T == sep_token_id)[:, None]
    before_T1 = (-layout.position_T.float()[:, None]).masked_fill(~ends_T1, -torch.inf)
    last_W = -window_maxima(before_T1, layout).squeeze(1)
    last_W = last_W.masked_fill(last_W.isinf(), 0)
    return layout.position_T > last_W[layout.window_T]


def without_questions(logits_NL: Tensor, context_T: Tensor, layout: Layout) -> Tensor:
    """[CLS] stays in the competition: an answer there means that there is none."""
    barred_T = ~context_T & (layout.position_T > 0)
    return logits_NL - BARRED * barred_T[layout.row_N, None]
