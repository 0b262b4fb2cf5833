"""Labels and logits come together by source and position."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import CorpusError
from pipeline.planning.labelled_scores import join
from pipeline.planning.splits import classification, only
from pipeline.schema import DOCUMENT_LOGITS, fragment_schema
from tests.planning.evaluations import document, plan, split, splits, text, write_fragments


def test_labels_meet_logits_by_source_and_position(tmp_path: Path):
    found = plan(
        tmp_path,
        a=[document(1, "rust"), document(22, "swift"), document(333, "rust")],
        b=[document(4, "python"), document(55, "ethereum")],
    )
    write_fragments(found)
    examples = join(found, split(found)).examples
    names = classification(found).labels
    labels = {int(n): names[row.argmax()] for n, row in zip(examples.logits_NL[:, 0], examples.truth_NL, strict=True)}
    assert labels == {1: "rust", 22: "swift", 333: "rust", 4: "python", 55: "ethereum"}
    assert examples.tokens_N.tolist() == examples.logits_NL[:, 0].tolist()
    assert (examples.truth_NL.sum(1) == 1).all()


def test_splits_are_apart_and_units_without_them_are_not_labelled(tmp_path: Path):
    found = plan(
        tmp_path,
        "corpus.split_column=part",
        a=[document(1, "rust", part="train")],
        b=[document(2, "rust", part="test"), document(3, "swift", part="train")],
        c=[document(4, "rust", part="validation")],
    )
    measured_and_fitted = splits(found, "test", "validation")
    test, validation = measured_and_fitted.all
    assert (len(test), len(validation)) == (1, 1)
    narrowed = only(found, measured_and_fitted.all)
    assert [u.file.uri.rpartition("/")[2] for u in narrowed.units] == ["b.jsonl", "c.jsonl"]
    assert len(narrowed.missing) == 2
    write_fragments(found)
    assert join(found, test).examples.logits_NL[:, 0].tolist() == [2]


def test_documents_that_failed_are_counted_and_left_out(tmp_path: Path):
    found = plan(tmp_path, a=[document(1, "rust"), document(2, "swift"), document(3, "rust")])
    write_fragments(found, failed=("2",))
    joined = join(found, split(found))
    assert joined.examples.logits_NL[:, 0].tolist() == [3, 1]
    assert joined.failed == {"null_text": 1}


def test_a_split_of_which_nothing_could_be_labelled_is_an_error(tmp_path: Path):
    found = plan(tmp_path, a=[document(1, "rust")])
    write_fragments(found, failed=("1",))
    with pytest.raises(CorpusError, match=r"not one of its 1 documents could be labelled \(null_"):
        join(found, split(found))


def test_an_empty_list_is_no_label_where_there_may_be_several(tmp_path: Path):
    rows = [document(1, ["rust", "swift"]), document(2, []), document(3, ["rust"])]
    found = plan(tmp_path, "corpus.unlabelled=keep", problem_type="multi_label", a=rows)
    write_fragments(found)
    examples = join(found, split(found)).examples
    order = np.argsort(examples.logits_NL[:, 0])
    assert examples.truth_NL[order].tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]


def test_the_parts_of_a_stream_are_joined_whether_they_were_cut_before_or_not(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    lines = [
        json.dumps(document(n, label) | {"text": text(str(n))})
        for n, label in ((1, "rust"), (22, "swift"), (333, "rust"))
    ]
    (tmp_path / "corpus" / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    found = plan(tmp_path, "units.text_bytes=1")  # each document is a part
    (stream,) = found.units
    unread = split(found)
    assert only(found, [unread]).units == (stream,)
    for number, id_ in enumerate((1, 22, 333)):
        row = {"id": str(id_), "position": number, "n_tokens": id_, "n_windows": 1, "logits": [float(id_), 0, 0, 0, 0]}
        part = stream.part(number).id(found.scoring.key)
        found.fragments.write(part, pa.Table.from_pylist([row], fragment_schema(DOCUMENT_LOGITS)))
    assert join(found, unread).examples.tokens_N.tolist() == [1, 22, 333]
    found.stream_lengths.write(stream.stream_id, 3)
    cut = found.cut_streams()
    assert len(cut.units) == 3
    assert split(cut) == unread
