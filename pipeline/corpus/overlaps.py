"""What a job writes and what it reads lie apart: a run would read what the one before it wrote."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.config.corpus import CorpusSettings
from pipeline.config.label import CheckpointSettings
from pipeline.corpus.lake_tables import folder_of
from pipeline.errors import ConfigError
from pipeline.storage.checkpoint_copies import checkpoint_cache
from pipeline.storage.objects import Storage
from pipeline.storage.patterns import above_wildcards
from pipeline.storage.registered_models import REGISTRY


def check_apart(
    storage: Storage,
    corpora: Mapping[str, CorpusSettings | None],
    written: Mapping[str, str],
    checkpoint: CheckpointSettings | None,
) -> None:
    """Raises ConfigError where a file of a corpus can lie in a folder that the job writes, or in the checkpoint's.

    Compares names and lists nothing. `corpora` and the folders of `written` are by the setting that names each.
    """
    places = dict(written)
    if checkpoint is not None and ("://" in checkpoint.uri or checkpoint.uri.startswith(REGISTRY)):
        places["the cache of checkpoints"] = str(checkpoint_cache())
    for name, corpus in corpora.items():
        for uri in filter(None, map(folder_of, corpus.uris if corpus else ())):
            for place, folder in places.items():
                if storage.can_lie_in(uri, folder):
                    raise ConfigError(
                        f"{place} {folder}: lies where {name} {uri} finds documents, or around it: its files would be "
                        "read as "
                        "documents; give a folder apart from the corpus"
                    )
            if checkpoint is not None and _holds(storage, uri, checkpoint.uri):
                raise ConfigError(
                    f"checkpoint.uri {checkpoint.uri}: lies where {name} {uri} finds documents: its files would be "
                    "read as "
                    "documents; move it, or narrow the corpus by a pattern"
                )


def _holds(storage: Storage, uri: str, checkpoint: str) -> bool:
    """Whether the checkpoint is among a corpus's files; documents beside a checkpoint's own files are nobody's harm."""
    if "://" not in checkpoint and not Path(checkpoint).is_dir():
        return False  # a hub's owner/name
    root = above_wildcards(storage.canonical(uri))
    inside = root.startswith(f"{storage.canonical(checkpoint).rstrip('/')}/")
    return not inside and storage.can_lie_in(uri, checkpoint)
