from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import f1_score

from pipeline.evaluation.fit import fit_decision, without_fit
from pipeline.evaluation.metrics import macro_f1
from pipeline.evaluation.scored_documents import ScoredDocuments
from pipeline.tasks.classification import Classification
from tests.evaluation.data import any_examples, examples, sampled

MULTI = Classification("multi_label", tuple("abc"))
SINGLE = Classification("single_label", tuple("abc"))


@given(any_examples("multi_label"))
@settings(deadline=None)
def test_on_what_it_was_fitted_macro_f1_is_no_worse(found: ScoredDocuments):
    task = Classification("multi_label", tuple("abcd"[: found.truth_NL.shape[1]]))
    if found.truth_NL.any():
        after, before = (
            macro_f1(found.truth_NL, t.given(t.scores(found.logits_NL))) for t in (fit_decision(task, found).task, task)
        )
        assert after >= before - 1e-12


def test_rare_labels_gain_on_documents_that_were_not_seen():
    """Labels of one document in ten, under logits that are right but for a shift: 0.5 is far too high."""
    found = sampled("multi_label", 4_000, 3, seed=1)
    shifted = ScoredDocuments(found.logits_NL - 3, found.truth_NL, found.tokens_N, found.windows_N)
    first = np.arange(4_000) < 2_000
    task = fit_decision(MULTI, shifted.where(first)).task
    unseen = shifted.where(~first)
    after, before = (macro_f1(unseen.truth_NL, t.given(t.scores(unseen.logits_NL))) for t in (task, MULTI))
    assert after > before + 0.1


@pytest.mark.parametrize(
    ("thresholds", "kept"),
    [({}, "b (0.5)"), ({"b": 0.8}, "b (0.8)"), ({"a": 0.99}, "b (0.5)")],
    ids=["the default", "its own", "the default beside another's own"],
)
def test_a_label_that_no_document_has_keeps_its_threshold_and_is_told(thresholds: dict[str, float], kept: str):
    found = sampled("multi_label", 200, 3)
    found.truth_NL[:, 1] = 0
    fitted = fit_decision(replace(MULTI, thresholds=thresholds), found)
    assert fitted.task.thresholds.get("b") == thresholds.get("b")
    assert fitted.task.thresholds["a"] not in (0.5, 0.99)
    assert any("1 of the 3 labels" in note and note.endswith(f": {kept}.") for note in fitted.notes)


def test_single_label_keeps_its_thresholds():
    task = Classification("single_label", tuple("abc"), {"a": 0.9})
    fitted = fit_decision(task, sampled("single_label", 500, 3, hotter=2)).task
    assert fitted.thresholds == {"a": 0.9}
    assert fitted.temperature == pytest.approx(2, rel=0.3)  # 500 documents


def test_of_a_binary_problem_the_second_labels_threshold_is_fitted():
    found = sampled("single_label", 1_000, 2, hotter=2)
    task = Classification("binary", tuple("ab"))
    fitted = fit_decision(task, found).task
    assert fitted.temperature == fit_decision(replace(task, problem_type="single_label"), found).task.temperature
    assert fitted.thresholds["a"] == 1 - fitted.thresholds["b"]
    f1 = [f1_score(found.truth_NL[:, 1], t.given(t.scores(found.logits_NL))[:, 1]) for t in (fitted, task)]
    assert f1[0] >= f1[1]


def test_without_a_best_temperature_the_checkpoints_own_stays_and_is_told():
    found = examples(np.eye(3) * 5, np.eye(3))
    fitted = fit_decision(Classification("single_label", tuple("abc"), {}, 1.5), found)
    assert fitted.task.temperature == 1.5
    assert "The temperature stays 1.5" in fitted.notes[0]


def test_the_decision_key_changes():
    assert fit_decision(SINGLE, sampled("single_label", 100, 3, hotter=3)).task.key != SINGLE.key


def test_plain_is_without_anything_fitted():
    assert without_fit(Classification("single_label", tuple("abc"), {"a": 0.1}, 7.0)) == SINGLE
