"""The sample that ships: its size, its licences, and a checkpoint that transformers reads as we do."""

import hashlib

import numpy as np
import pyarrow.parquet as pq
import torch
from sentencepiece import SentencePieceProcessor
from transformers import BigBirdForSequenceClassification

from jobs.sample import CHECKPOINT, CORPUS, FOLDER
from pipeline.inference.predictor import Predictor
from tests.checkpoint_folders import transformers_logits

# fp32 of both, on real text; worst seen 1e-6, logits up to 6
TOLERANCE = 1e-4


def test_the_corpus_is_whole():
    splits = {path.stem: pq.read_metadata(path).num_rows for path in CORPUS.glob("*.parquet")}
    assert splits == {"train": 350, "validation": 50, "test": 100}


def test_licences_and_attribution_lie_beside_it():
    assert {path.name for path in (FOLDER / "LICENSES").iterdir()} == {
        "ethereum-EIPs-CC0-1.0.txt",
        "kubernetes-enhancements-Apache-2.0.txt",
        "rust-rfcs-Apache-2.0.txt",
        "rust-rfcs-MIT.txt",
        "swift-evolution-Apache-2.0-runtime-exception.txt",
    }
    assert "Attribution:" in (FOLDER / "DATA_CARD.md").read_text()


def test_the_checkpoint_is_small():
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) <= 5_000_000
    assert SentencePieceProcessor(str(CHECKPOINT / "spiece.model")).get_piece_size() <= 8_000


def test_the_checkpoint_says_what_it_was_trained_on():
    uses = {
        (hashlib.sha256(text.encode()).digest()[:16], split)
        for split in ("train", "validation")
        for text in pq.read_table(CORPUS / f"{split}.parquet")["text"].to_pylist()
    }
    found = pq.read_table(CHECKPOINT / "training_documents.parquet").to_pylist()
    assert {(row["digest"], row["split"]) for row in found} == uses
    assert len(found) == 400


def test_transformers_reads_the_checkpoint_as_we_do():
    theirs = BigBirdForSequenceClassification.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
    ours = Predictor.load(CHECKPOINT, device="cpu", dtype="fp32", threads=None)
    processor = SentencePieceProcessor(str(CHECKPOINT / "spiece.model"))
    control = [processor.piece_to_id(piece) for piece in ("[CLS]", "[SEP]")]
    for text in pq.read_table(CORPUS / "test.parquet")["text"].to_pylist()[:5]:
        ids = np.array([control[0], *processor.encode(text)[:4094], control[1]])
        expected = transformers_logits(theirs, ids)
        assert np.allclose(ours.predict(ids, np.array([len(ids)])), expected, atol=TOLERANCE)
