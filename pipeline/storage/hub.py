"""Checkpoints of a model hub."""

from pathlib import Path

from pipeline.added_tokens import SPIECE
from pipeline.errors import CheckpointError

CHECKPOINT_FILES = ["*.json", "*.safetensors", "*.bin", SPIECE]


def fetch_from_hub(name: str) -> Path:
    """Downloads a checkpoint by its hub's owner/name into the hub's own cache, once.

    Raises:
        CheckpointError: it is no such name, or the hub did not give it.
    """
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"checkpoint.uri {name}: no such folder; give a folder, a URI or a hub's owner/name")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=CHECKPOINT_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"checkpoint.uri {name}: no such folder here, and the model hub did not give it: {error}"
        ) from error
