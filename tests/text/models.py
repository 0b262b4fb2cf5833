"""Small real tokenizers, trained on the sample corpus."""

import io
from pathlib import Path

import pyarrow.parquet as pq
import tokenizers
from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2
from tokenizers import models, normalizers, pre_tokenizers

SAMPLE = Path(__file__).parents[2] / "jobs/sample/corpus"
BIGBIRD_CONTROLS = ["[CLS]", "[SEP]", "[MASK]"]


def train(path: Path, normalizer: str, symbols: list[str] = BIGBIRD_CONTROLS) -> Path:
    texts = pq.read_table(SAMPLE / "train.parquet", columns=["text"])["text"].to_pylist()
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in texts[:60] for line in text.splitlines() if line]),
        model_writer=model,
        vocab_size=2000,
        normalization_rule_name=normalizer,
        user_defined_symbols=symbols,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=100,  # as BigBird has them
        num_threads=1,
        input_sentence_size=3000,
        shuffle_input_sentence=False,  # the shuffle has a new seed in every process
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return path


def convert(spiece: Path, path: Path, *, normalized: bool = True) -> Path:
    """The same model for the tokenizers library; without its normalizer the ids differ."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(spiece.read_bytes())
    vocabulary = [(piece.piece, piece.score) for piece in proto.pieces]
    converted = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=100))
    if normalized:
        charsmap = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
        blanks = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
        converted.normalizer = normalizers.Sequence([charsmap, normalizers.Strip(), blanks])
    converted.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    converted.add_special_tokens([*BIGBIRD_CONTROLS, "<pad>", "</s>", "<s>"])
    converted.save(str(path))
    return path
