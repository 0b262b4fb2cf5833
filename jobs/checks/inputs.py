"""Whether what a job reads is there and can be read: its corpus, its checkpoint, a gold corpus."""

from collections.abc import Iterator
from functools import partial

from jobs.checks.examination import Check
from jobs.finding import Finding
from jobs.terminal.console import byte_count, file_count
from jobs.terminal.descriptions import corpus_notes
from pipeline.cluster.connection import cluster_address
from pipeline.config.corpus import CorpusSettings
from pipeline.config.label import Job
from pipeline.cores import available_memory
from pipeline.corpus.files import discover
from pipeline.planning.scoring import open_scorer
from pipeline.storage.objects import Storage

LOADING_S = 120.0  # to fetch and load a checkpoint
WEIGHT_COPIES = 2  # of the weights while they are loaded: the file's and the model's


def input_checks(jobs: list[Job], storage: Storage) -> list[Check]:
    """Lists the checks of what the jobs of one file read: one corpus, and a checkpoint each."""
    first = jobs[0]
    checks = [Check("corpus.uris", lambda: [corpus(storage, first.corpus, "corpus.uris")], "name files that are there")]
    if gold := first.gates.gold:
        subject = "gates.gold.uris"
        checks.append(Check(subject, lambda: [corpus(storage, gold, subject)], "name files that are there"))
    for job in jobs:
        advice = "name a checkpoint folder that is whole: see docs/checkpoints.md"
        checks.append(Check("checkpoint.uri", partial(checkpoint, storage, job), advice, LOADING_S))
    return checks


def corpus(storage: Storage, settings: CorpusSettings, subject: str) -> Finding:
    """Lists a corpus, and reads the first byte of its first file: a store may allow one and not the other.

    Raises CorpusError, ConfigError, NoBucketError, AccessError, StorageError.
    """
    listed = discover(storage, settings)
    storage.read_start(listed.files[0].stored, 1)
    size = byte_count(sum(file.stored.size for file in listed.files))
    formats = ", ".join(sorted({file.format for file in listed.files}))
    notes = "; ".join([f"{file_count(len(listed.files))}, {size} ({formats})", *corpus_notes(listed)])
    return Finding(subject, "ok", f"{notes}, and can be read")


def checkpoint(storage: Storage, job: Job) -> Iterator[Finding]:
    """Opens a checkpoint and loads it once, as a run does before its first unit.

    Raises ConfigError, CheckpointError, AccessError, StorageError.
    """
    import torch

    from pipeline.checkpoints.names import load_classifier

    scorer = open_scorer(storage, job)
    load_classifier(scorer.checkpoint, torch.float32)
    size = sum(file.stat().st_size for file in scorer.checkpoint.weight_files)
    kinds = f"{scorer.checkpoint.head.head} head, {scorer.scoring.dtype}"
    seen = f"{job.checkpoint.uri}: {byte_count(size)} of weights, {kinds}"
    needed, there = WEIGHT_COPIES * size * job.compute.actors, available_memory()
    if cluster_address(job.ray) is None and not job.compute.num_gpus and needed > there:
        seen = f"{seen}; {job.compute.actors} actors want {byte_count(needed)}, and there are {byte_count(there)}"
        yield Finding("checkpoint.uri", "warning", seen, "set compute.actors lower, or take a larger machine")
    else:
        yield Finding("checkpoint.uri", "ok", seen)
