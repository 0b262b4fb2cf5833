"""Makes the shipped checkpoint from the sample's train split, from scratch: `python -m jobs.sample.train`.

First a sentencepiece vocabulary, then two BigBird layers, with a fixed seed. Every epoch sees one random stretch of each
document, long or short, so that the 350 documents are never the same twice; the epoch that is best on the validation split
is kept. About ten minutes on 2 cores. The test split is not read here.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from rich.console import Console
from sentencepiece import SentencePieceTrainer

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.bigbird.checkpoint import save
from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.config import EncoderConfig, HeadConfig
from pipeline.bigbird.layout import Layout
from pipeline.text.packing import pack
from pipeline.text.tokenizer import Tokenizer

SEED = 20_261_120
VOCABULARY = 8_000
ENCODER = EncoderConfig(
    vocab_size=VOCABULARY, hidden_size=128, layers=2, heads=2, intermediate_size=256, max_positions=4096,
    type_vocab_size=2, block_size=64, random_blocks=3, attention_type="block_sparse", activation="gelu_tanh",
    norm_eps=1e-12, use_bias=True, rescale_embeddings=False,
)  # fmt: skip
EPOCHS = 16
TOKENS_PER_STEP = 16_384
SHORTEST_STRETCH = 256  # tokens of a document that an epoch sees at least
LEARNING_RATE = 1e-3
WARM_UP_STEPS = 100
WEIGHT_DECAY = 0.05
DROPOUT = 0.1
HIDDEN_TOKENS = 0.1  # share of the tokens that training replaces by <unk>
UNKNOWN_ID = 3

Ids = npt.NDArray[np.int64]
console = Console(highlight=False)


def main() -> None:
    """Trains and writes the checkpoint folder."""
    torch.manual_seed(SEED)
    train, validation = (
        pq.read_table(CORPUS / f"{split}.parquet") for split in ("train", "validation")
    )
    labels = sorted(set(train["label"].to_pylist()))
    CHECKPOINT.mkdir(exist_ok=True)
    spiece = CHECKPOINT / "spiece.model"
    spiece.write_bytes(train_vocabulary(train["text"].to_pylist()))
    tokenizer = Tokenizer.load(spiece, None)

    def examples(table: object) -> list[tuple[Ids, int]]:
        texts, names = table["text"].to_pylist(), table["label"].to_pylist()  # type: ignore[index]
        return [
            (ids.astype(np.int64), labels.index(n))
            for ids, n in zip(tokenizer.encode(texts), names, strict=True)
        ]

    head = HeadConfig(
        pooling="cls", head="bigbird", problem_type="single_label", labels=tuple(labels)
    )
    classifier = Classifier.fresh(ENCODER, head, seed=SEED, dropout=DROPOUT)
    fit(classifier, tokenizer, examples(train), examples(validation), CHECKPOINT)


def train_vocabulary(texts: list[str]) -> bytes:
    """A unigram vocabulary with BigBird's control tokens, on the lines of the texts."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in texts for line in text.split("\n") if line]),
        model_writer=model, vocab_size=VOCABULARY, model_type="unigram", max_sentence_length=100_000,
        pad_id=0, eos_id=1, bos_id=2, unk_id=UNKNOWN_ID, pad_piece="<pad>", control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        num_threads=2, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def fit(
    classifier: Classifier,
    tokenizer: Tokenizer,
    train: list[tuple[Ids, int]],
    validation: list[tuple[Ids, int]],
    path: Path,
) -> None:
    """AdamW with warm-up and cosine decay; saves the epoch with the lowest validation loss."""
    random = np.random.default_rng(SEED)
    optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * sum(1 for _ in batches(train, tokenizer, random, whole=True))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / WARM_UP_STEPS, 0.5 + 0.5 * float(np.cos(np.pi * min(step / steps, 1)))
        ),
    )
    best = float("inf")
    for epoch in range(1, EPOCHS + 1):
        classifier.train()
        for ids_T, layout, target_W in batches(train, tokenizer, random, whole=False):
            loss = F.cross_entropy(classifier(ids_T, layout), target_W)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        validation_loss, accuracy = evaluate(classifier, tokenizer, validation, random)
        console.print(
            f"epoch {epoch:2}: validation loss {validation_loss:.3f}, accuracy {accuracy:.2f}"
        )
        if validation_loss <= best:
            best = validation_loss
            save(classifier, path, dtype=torch.float16)


@torch.inference_mode()
def evaluate(
    classifier: Classifier,
    tokenizer: Tokenizer,
    examples: list[tuple[Ids, int]],
    random: np.random.Generator,
) -> tuple[float, float]:
    """Mean loss and accuracy on the first window of each document."""
    classifier.eval()
    results = [
        (classifier(ids, layout), target)
        for ids, layout, target in batches(examples, tokenizer, random, whole=True)
    ]
    logits, target = (torch.cat(parts) for parts in zip(*results, strict=True))
    return float(F.cross_entropy(logits, target)), float(
        (logits.argmax(1) == target).float().mean()
    )


def batches(
    examples: list[tuple[Ids, int]],
    tokenizer: Tokenizer,
    random: np.random.Generator,
    *,
    whole: bool,
) -> Iterator[tuple[torch.Tensor, Layout, torch.Tensor]]:
    """Packs of one window per document: its first, or (not `whole`) a random stretch with some tokens hidden."""
    windows = [_window(ids, tokenizer, random, whole=whole) for ids, _ in examples]
    packs = pack([len(w) for w in windows], budget=TOKENS_PER_STEP, block_size=ENCODER.block_size)
    for index in random.permutation(len(packs)):
        members = packs[index]
        layout = Layout.of(np.array([len(windows[i]) for i in members]), ENCODER)
        ids_T = layout.spread(torch.from_numpy(np.concatenate([windows[i] for i in members])))
        yield ids_T, layout, torch.tensor([examples[i][1] for i in members])


def _window(ids: Ids, tokenizer: Tokenizer, random: np.random.Generator, *, whole: bool) -> Ids:
    body = ids[: ENCODER.max_positions - 2]
    if not whole:
        longest = min(len(ids), ENCODER.max_positions - 2)
        length = int(random.integers(min(SHORTEST_STRETCH, longest), longest + 1))
        start = int(random.integers(0, len(ids) - length + 1))
        body = np.where(
            random.random(length) < HIDDEN_TOKENS, UNKNOWN_ID, ids[start : start + length]
        )
    return np.concatenate([[tokenizer.cls_id], body, [tokenizer.sep_id]])


if __name__ == "__main__":
    main()
