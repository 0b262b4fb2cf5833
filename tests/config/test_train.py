from pathlib import Path

import pytest

from jobs.measure.benchmark import __path__ as benchmark
from jobs.sample import FOLDER
from pipeline.config.evaluate import EvaluationJob
from pipeline.config.loader import load_settings, parse_settings
from pipeline.config.train import TrainJob, load_train_job
from pipeline.errors import ConfigError

BENCHMARK = Path(benchmark[0])
REQUIRED = ["corpus.uris=a", "corpus.label_column=l", "output.folder=o"]


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_settings(TrainJob, "", [*REQUIRED, *overrides], "train.yaml")
    return str(refused.value)


@pytest.mark.parametrize(
    "path",
    [FOLDER / "train.yaml", BENCHMARK / "un_debates.yaml", BENCHMARK / "tech_proposals.yaml"],
    ids=lambda p: p.stem,
)
def test_ours_are_right(path: Path):
    assert load_train_job(path).init is not None


def test_what_is_trained_is_what_is_measured():
    measured = load_settings(EvaluationJob, BENCHMARK / "tech_proposals_evaluate.yaml", [])
    trained = load_train_job(BENCHMARK / "tech_proposals.yaml")
    assert measured.corpus == trained.corpus
    assert measured.checkpoint.uri == trained.output.folder


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "expected either checkpoint (train on) or init (from scratch)"),
        (["init.layers=1", "checkpoint.uri=c"], "expected either checkpoint"),
        (["init.layer=1"], "init.layer: unknown key (value 1); expected one of vocabulary, hidden_size"),
        (["init.hidden_size=10", "init.heads=3"], "heads must divide hidden_size (10)"),
        (["init.layers=1", "training.head_only=true"], "training.head_only needs a checkpoint"),
        (["init.layers=1", "training.shortest_stretch=9"], "shortest_stretch is for windows: random"),
        (["init.layers=1", "head.kind=masked_lm"], "head.kind: Input should be 'bigbird', 'linear' or 'dense'"),
        (["init.layers=1", "head.kind=none"], "head.kind: Input should be 'bigbird', 'linear' or 'dense'"),
        (["init.layers=1", "head.pooling=tokens"], "head.pooling: Input should be 'cls', 'pooler', 'mean', 'max' or"),
        (["init.layers=1", "head.attention_size=9"], "attention_size is for pooling: attention"),
        (["init.layers=1", "training.epochs=0"], "training.epochs: "),
        (["init.layers=1", "training.class_weights={a: -1}"], "training.class_weights"),
    ],
)
def test_what_is_refused(overrides: list[str], message: str):
    assert message in refusal(*overrides)


def test_required_sections_are_named():
    with pytest.raises(ConfigError, match=r"corpus: missing; it is required\n  output: missing"):
        parse_settings(TrainJob, "init: {layers: 1}", [], "train.yaml")
