"""The checkpoint folder that training leaves, with its model card; there as a whole or not at all."""

import json
import shutil
from typing import Any

import torch
import yaml

from pipeline.atomic import written_beside
from pipeline.bigbird.classifier import Classifier
from pipeline.checkpoints.folder import tokenizer_files
from pipeline.checkpoints.names import save
from pipeline.corpus.training_documents import TRAINING_DOCUMENTS_NAME as TRAINING_DOCUMENTS
from pipeline.training import state
from pipeline.training.loop import BEST_WEIGHTS
from pipeline.training.prepare import STATES, job_digest
from pipeline.training.run import RESULT, TrainingRun
from pipeline.training.split_documents import SPLITS

STORED_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def finish(run: TrainingRun) -> dict[str, Any]:
    """Makes the output folder of the work folder, which goes. Returns the scores by split."""
    work, output = run.prepared.work, run.job.output
    result = json.loads((work / RESULT).read_text())
    classifier = Classifier(run.prepared.encoder, run.prepared.head)
    best = state.read_state(work / STATES / "training" / BEST_WEIGHTS)
    assert best is not None
    classifier.load_state_dict(best)
    with written_beside(output.path) as partial:
        save(classifier, partial, dtype=STORED_DTYPES[output.dtype], settings={"windows": _windows(run)})
        for name, file in tokenizer_files(run.prepared.start).items():
            shutil.copyfile(file, partial / name)
        shutil.copyfile(work / TRAINING_DOCUMENTS, partial / TRAINING_DOCUMENTS)
        made_by = {"job": job_digest(run.job)} | result
        (partial / "training.json").write_text(json.dumps(made_by, indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(card(run, result), encoding="utf-8")
    shutil.rmtree(work)
    scores: dict[str, Any] = result["scores"]
    return scores


def _windows(run: TrainingRun) -> dict[str, Any]:
    return {
        "max_tokens": run.policy.max_tokens,
        "long_documents": run.policy.long_documents,
        "overlap": run.policy.overlap,
        "aggregation": run.policy.aggregation,
    }


def card(run: TrainingRun, result: dict[str, Any]) -> str:
    """Writes the model card, in Markdown: what it is, data, scores, settings."""
    prepared, head = run.prepared, run.prepared.head
    encoder = prepared.encoder
    labels = head.labels if head.problem_type != "regression" else ("a number",)
    settings = yaml.safe_dump(run.job.model_dump(mode="json", exclude_unset=True), sort_keys=False, allow_unicode=True)
    return "\n".join(
        [
            f"# {run.job.output.path.name}",
            "",
            f"A BigBird classifier ({head.problem_type}) made by `rookery train`: "
            f"{encoder.layers} layers of {encoder.hidden_size}, "
            f"{encoder.heads} heads, a vocabulary of {encoder.vocab_size:,}, "
            f"windows of up to {run.policy.max_tokens:,} tokens; "
            f"pooling {head.pooling}, head {head.head}. It says: {', '.join(labels)}.",
            "",
            "## Data",
            "",
            "| split | documents | tokens | labels |",
            "|---|---|---|---|",
            *(_data_row(run, split) for split in SPLITS if prepared.documents[split]),
            "",
            f"Read from {', '.join(run.job.corpus.uris)}."
            + (f" {prepared.left_out:,} documents are of no split." if prepared.left_out else ""),
            *(["", f"Left out: {prepared.repeats}."] if prepared.repeats else []),
            "",
            "## Scores",
            "",
            "| split | documents | loss | score |",
            "|---|---|---|---|",
            *(
                f"| {split} | {s['documents']:,} | {s['loss']:.4f} | {s['name']} {s['score']:.4f} |"
                for split, s in result["scores"].items()
            ),
            "",
            f"The weights are those after epoch {result['best_epoch']} of {len(result['epochs'])}, chosen "
            "on the validation split"
            + ("; the test split was read once, after that." if "test" in result["scores"] else "."),
            "",
            "| epoch | loss | on validation | score |",
            "|---|---|---|---|",
            *map(_epoch_row, result["epochs"]),
            "",
            "## Settings",
            "",
            "```yaml",
            settings.rstrip(),
            "```",
            "",
        ]
    )


def _epoch_row(epoch: dict[str, Any]) -> str:
    split = epoch["validation"]
    return f"| {epoch['epoch']} | {epoch['loss']:.4f} | {split['loss']:.4f} | {split['name']} {split['score']:.4f} |"


def _data_row(run: TrainingRun, split: Any) -> str:
    prepared = run.prepared
    counts = ", ".join(f"{name} {count:,}" for name, count in prepared.counts[split].items())
    return f"| {split} | {prepared.documents[split]:,} | {prepared.tokens[split]:,} | {counts} |"
