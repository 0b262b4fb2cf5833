"""Which class each kind of pooling and of head is: the one place that names them. Each says the rest of itself."""

from collections.abc import Mapping

from pipeline.bigbird.heads.bigbird_head import BigBirdHead
from pipeline.bigbird.heads.dense_head import DenseHead
from pipeline.bigbird.heads.head import Head
from pipeline.bigbird.heads.linear_head import LinearHead
from pipeline.bigbird.heads.masked_lm_head import MaskedLmHead
from pipeline.bigbird.heads.no_head import NoHead
from pipeline.bigbird.heads.question_answering_head import QuestionAnsweringHead
from pipeline.bigbird.poolings.attention_pooling import AttentionPooling
from pipeline.bigbird.poolings.cls import Cls
from pipeline.bigbird.poolings.every_token import EveryToken
from pipeline.bigbird.poolings.max import Max
from pipeline.bigbird.poolings.mean import Mean
from pipeline.bigbird.poolings.pooler import Pooler
from pipeline.bigbird.poolings.pooling import Pooling
from pipeline.terms import HeadKind, PoolingKind

POOLINGS: Mapping[PoolingKind, type[Pooling]] = {
    "cls": Cls,
    "pooler": Pooler,
    "mean": Mean,
    "max": Max,
    "attention": AttentionPooling,
    "tokens": EveryToken,
}
HEADS: Mapping[HeadKind, type[Head]] = {
    "bigbird": BigBirdHead,
    "linear": LinearHead,
    "dense": DenseHead,
    "question_answering": QuestionAnsweringHead,
    "masked_lm": MaskedLmHead,
    "none": NoHead,
}
