import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from sentencepiece import SentencePieceProcessor

from pipeline.errors import ConfigError
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.vocabulary import sample, train_vocabulary
from tests.text.models import SAMPLE

TEXTS = [
    (str(number), text[:4000])
    for number, text in enumerate(pq.read_table(SAMPLE / "train.parquet")["text"].to_pylist()[:40])
]
PROGRAM = """
import hashlib
from tests.text.test_vocabulary import TEXTS
from pipeline.text.vocabulary import train_vocabulary
print(hashlib.sha256(train_vocabulary(TEXTS, 600)).hexdigest())
"""


def test_control_tokens_are_bigbirds(tmp_path):
    path = tmp_path / "spiece.model"
    path.write_bytes(train_vocabulary(TEXTS, 600))
    tokenizer = Tokenizer.load(path, None)
    assert tokenizer.vocab_size == 600
    processor = SentencePieceProcessor(str(path))
    names = [processor.id_to_piece(i) for i in (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)]  # type: ignore[arg-type]
    assert names == ["[CLS]", "[SEP]", "[MASK]"]
    (ids,) = tokenizer.encode(["a text with [MASK] in it"])
    assert tokenizer.mask_id not in ids


def test_every_process_makes_the_same_bytes():
    made = [subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True).stdout for _ in range(2)]
    assert made[0] == made[1]


def test_too_little_text_for_so_many_pieces():
    with pytest.raises(ConfigError, match=r"init.vocabulary 5000: .* set it lower"):
        train_vocabulary([("a", "one line")], 5000)


def test_the_sample_is_bounded_and_depends_on_ids_alone():
    texts = [(str(number), "x" * 100) for number in range(1000)]
    kept = sample(texts, 20_000)
    assert 5_000 <= sum(map(len, kept)) <= 20_000
    named = [(id_, id_) for id_, _ in texts]
    assert sorted(sample(reversed(named), 500)) == sorted(sample(iter(named), 500))
