"""Which corpus a snapshot was made of, as the job said that published it: for whoever reads documents again."""

import json
from dataclasses import dataclass

from pydantic import ValidationError

from pipeline.config.corpus import CorpusSettings
from pipeline.config.label import StorageSettings
from pipeline.errors import ConfigError
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Manifest


@dataclass(frozen=True, slots=True)
class PublishedCorpus:
    """How a snapshot's corpus is reached and read."""

    storage: Storage
    settings: CorpusSettings

    @classmethod
    def of(cls, manifest: Manifest) -> "PublishedCorpus":
        """Reads it from a manifest's `run`. Raises ConfigError where it isn't there, or of an unknown form."""
        try:
            job = manifest.run["job"]
            settings = StorageSettings.model_validate_json(json.dumps(job["storage"]))
            return cls(Storage(settings), CorpusSettings.model_validate_json(json.dumps(job["corpus"])))
        except (KeyError, ValidationError) as error:
            raise ConfigError(
                f"snapshot {manifest.snapshot}: its manifest doesn't say how to read its corpus again ({error!r}); "
                "text can't be joined to it: take a snapshot that this version of Rookery published"
            ) from error
