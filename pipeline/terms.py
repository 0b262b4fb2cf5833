"""Words that several packages say, each for one idea. Imports nothing of ours.

Their values stand in job files, in checkpoints, in manifests and in what ids hash: they are formats, not names.
"""

from typing import Literal

# What a person says of a document: one label, several of them, or a number.
Label = str | float | int | bool | tuple[str, ...]

# What files of a corpus are. Compressed or not, a format is one.
FormatName = Literal["parquet", "jsonl", "csv", "tsv", "text"]

# What a checkpoint is for: decided by its head.
TaskName = Literal["classification", "token_classification", "question_answering", "masked_lm", "embedding"]
# What the outputs of a classification are. Binary: one output, two labels, below the threshold and above.
ProblemType = Literal["single_label", "multi_label", "binary", "regression"]

# How a document longer than a window is read: in overlapping windows; its start; its start and its end in one window.
LongDocuments = Literal["windows", "head", "head_tail"]
# How its windows' outputs become one: their mean weighted by tokens, the largest of each output, the first window's.
Aggregation = Literal["mean", "max", "first"]

# What a model is made of.
AttentionType = Literal["block_sparse", "original_full"]
Activation = Literal["gelu_tanh", "gelu_erf", "relu"]
# Where its head looks: at windows, or at every token.
WindowPooling = Literal["cls", "pooler", "mean", "max", "attention"]
PoolingKind = Literal[WindowPooling, "tokens"]
# What that computes: an output for each label, or outputs that are fixed by what they are for.
LabelHead = Literal["bigbird", "linear", "dense"]
HeadKind = Literal[LabelHead, "question_answering", "masked_lm", "none"]

# What it is computed in, and on.
Dtype = Literal["bf16", "fp32", "int8"]
DeviceKind = Literal["cpu", "cuda"]

# The versions of what is computed and of what is written; here, where nothing has to be loaded to ask for them.
SCORING_VERSION = 6  # raise it when the same settings give other scores
MANIFEST_VERSION = 2  # 1 had no checkpoint, columns, failures, and counts of unlabelled and duplicate_ids
