"""How a corpus and a snapshot's changes are described in a line."""

from jobs.terminal.console import file_count, printable
from pipeline.corpus.files import Corpus
from pipeline.tables.snapshots import Manifest

COMMIT_DIGITS = 8
LEFT_OUT_SHOWN = 3


def corpus_notes(corpus: Corpus) -> list[str]:
    """Says what a folder held beside the corpus, and which version of a table was read."""
    notes = [str(table) for table in corpus.tables]
    notes += [f"commit {commit[:COMMIT_DIGITS]} of {printable(uri)}" for uri, commit in corpus.commits]
    if corpus.left_out:
        names = [printable(uri.rpartition("/")[2]) for uri in corpus.left_out[:LEFT_OUT_SHOWN]]
        more = ["…"] if len(corpus.left_out) > len(names) else []
        notes.append(f"{file_count(len(corpus.left_out))} left out: {', '.join([*names, *more])}")
    return notes


def changed_documents(manifest: Manifest) -> str:
    """Writes what changed: `3 added, 26 changed, 1 removed, 190 unchanged since snapshot 2`."""
    changes = manifest.changes
    if changes is None:
        return f"not counted against snapshot {manifest.parent}"
    counts = f"{changes.added:,} added, {changes.changed:,} changed, {changes.removed:,} removed"
    return f"{counts}, {changes.unchanged:,} unchanged since snapshot {manifest.parent}"
