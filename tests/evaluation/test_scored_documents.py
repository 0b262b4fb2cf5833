import numpy as np
import pytest

from pipeline.errors import CorpusError
from pipeline.evaluation.scored_documents import check_measurable, truth_array
from pipeline.terms import ProblemType
from tests.evaluation.data import examples


@pytest.mark.parametrize(
    ("problem_type", "truths", "message"),
    [
        ("single_label", np.zeros((0, 2)), "no document"),
        ("single_label", [[1, 0], [1, 0]], "the same label; expected at least two classes"),
        ("multi_label", [[0, 0], [0, 0]], "not one of 2 documents has a label"),
        ("multi_label", [[1], [1]], "at least two classes"),
        ("regression", [[1.0], [np.nan]], "1 targets are not finite numbers"),
    ],
    ids=["nothing", "single class", "all empty", "one output, one class", "NaN"],
)
def test_a_split_that_cannot_be_measured_is_refused(problem_type: ProblemType, truths: object, message: str):
    truth_NL = np.array(truths, float)
    with pytest.raises(CorpusError, match=f"split 'test': .*{message}"):
        check_measurable(examples(np.zeros_like(truth_NL), truth_NL), problem_type, "the split 'test'")


@pytest.mark.parametrize(
    ("problem_type", "truths"),
    [
        ("single_label", [[1, 0], [0, 1]]),
        ("multi_label", [[0, 0], [1, 0]]),
        ("multi_label", [[0], [1]]),
        ("regression", [[1.0], [1.0]]),
    ],
)
def test_others_are_not(problem_type: ProblemType, truths: object):
    truth_NL = np.array(truths, float)
    check_measurable(examples(np.zeros_like(truth_NL), truth_NL), problem_type, "the split 'test'")


def test_an_index_is_one_label_of_many():
    assert truth_array("single_label", np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert truth_array("multi_label", np.array([[1, 1, 0]]), 3).tolist() == [[1, 1, 0]]
