from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from pipeline.config.train import TrainingSettings
from pipeline.text.windows import WindowPolicy
from pipeline.training.batches import Batcher, TrainingWindow
from pipeline.training.token_store import TokenizedDocuments
from tests.bigbird.configs import encoder_config

CLS, SEP, MASK = 1, 2, 3
LENGTHS = [5, 40, 61, 62, 63, 200, 0, 500]
BATCHER = Batcher(encoder_config(max_positions=64, block_size=16), WindowPolicy(64, "windows", 8), CLS, SEP, MASK, 128)


def examples(lengths: list[int] = LENGTHS) -> TokenizedDocuments:
    start = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.arange(10, 10 + start[-1]) % 480 + 10
    return TokenizedDocuments(tokens.astype(np.uint16), start, np.arange(len(lengths)))


def windows_of(steps: list[list[list[TrainingWindow]]]) -> list[TrainingWindow]:
    return [window for step in steps for pack in step for window in pack]


def test_all_windows_are_those_that_labelling_reads_and_share_their_documents_weight():
    settings = TrainingSettings(tokens_per_step=300)
    found = windows_of(BATCHER.steps(examples(), settings, 0))
    for document, length in enumerate(LENGTHS):
        own = sorted((w for w in found if w.document == document), key=lambda w: w.number)
        assert [w.spans for w in own] == [w.spans for w in BATCHER.policy.windows(length)]
        assert sum(w.weight for w in own) == pytest.approx(1)


def test_steps_and_packs_keep_their_budgets():
    steps = BATCHER.steps(examples(), TrainingSettings(tokens_per_step=300), 0)
    rows = [[sum(-(-w.n_tokens // 16) * 16 for w in pack) for pack in step] for step in steps]
    assert max(chain(*rows)) <= 128
    assert all(sum(step) <= 300 for step in rows)
    assert len(steps) > 3


def test_random_stretches_differ_from_epoch_to_epoch_and_repeat_with_the_seed():
    settings = TrainingSettings(windows="random", shortest_stretch=10, seed=5)
    first, again, other = (
        sorted(windows_of(BATCHER.steps(examples(), settings, epoch)), key=lambda w: w.document) for epoch in (0, 0, 1)
    )
    assert first == again != other
    assert [w.document for w in first] == list(range(len(LENGTHS)))
    for window, length in zip(first, LENGTHS, strict=True):
        ((start, stop),) = window.spans
        assert 0 <= start <= stop <= length
        assert min(10, length) <= stop - start <= 62


def test_head_alone_is_read_where_labelling_reads_no_more():
    batcher = replace(BATCHER, policy=WindowPolicy(64, "head", 0))
    found = windows_of(batcher.steps(examples(), TrainingSettings(windows="random"), 0))
    assert {w.spans for w in found if w.document == 7} == {((0, 62),)}


def test_a_batch_has_the_documents_tokens():
    data = examples()
    pack = BATCHER.packs(BATCHER.every_window(data))[0]
    batch = BATCHER.batch(data, pack)
    start = 0
    token_id_N = batch.token_id_T[batch.layout.row_N].tolist()
    for window, target in zip(pack, batch.target.tolist(), strict=True):
        ((first, last),) = window.spans
        expected = [CLS, *data.ids(window.document)[first:last].tolist(), SEP]
        assert token_id_N[start : start + window.n_tokens] == expected
        assert target == window.document
        start += window.n_tokens


def test_hidden_tokens_are_the_same_in_whatever_pack_a_window_is():
    data = examples()
    windows = BATCHER.every_window(data)[-3:]
    together = BATCHER.batch(data, windows, 0.3, (7, 1))
    alone = [BATCHER.batch(data, [window], 0.3, (7, 1)) for window in windows]
    token_ids = [batch.token_id_T[batch.layout.row_N].tolist() for batch in alone]
    assert together.token_id_T[together.layout.row_N].tolist() == list(chain(*token_ids))
    hidden = together.token_id_T != together.original_id_T
    assert set(together.token_id_T[hidden].tolist()) == {MASK}
    assert 0.15 < hidden.float().mean() < 0.45  # of about 190 tokens
    assert together.token_id_T[together.layout.first_row_W].tolist() == [CLS] * 3
