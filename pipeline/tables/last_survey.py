"""What the newest snapshot was published from: a hint, never the truth.

    _last_survey.json   the digest of what the last run saw, and the content of the snapshot that holds it

Written after a snapshot is visible. A run that sees the same, while the newest snapshot has that content, has nothing
to do. Lost, or of another run, it costs a plan and nothing else.
"""

import json
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import InputError, StorageError, UnavailableError
from pipeline.storage.objects import Storage


class Seen(NamedTuple):
    """Digest of what a run saw, and the content of the snapshot that it left as the newest."""

    digest: str
    content: str


@dataclass(frozen=True, slots=True)
class LastSurvey:
    """The hint of one table."""

    storage: Storage
    table_uri: str

    def read(self) -> Seen | None:
        """Reads the hint; None where there is none, or nothing that can be read: the plan says what is wrong.

        Raises UnavailableError, for the store has been waited for.
        """
        try:
            tree = json.loads(self.storage.read(self._uri))
            return Seen(tree["digest"], tree["content"])
        except UnavailableError:
            raise
        except (FileNotFoundError, InputError, StorageError, ValueError, KeyError, TypeError):
            return None

    def write(self, digest: str, content: str) -> None:
        """Replaces the hint."""
        seen = Seen(digest, content)
        if self.read() != seen:
            self.storage.put(self._uri, json.dumps(seen._asdict(), indent=1).encode() + b"\n")

    @property
    def _uri(self) -> str:
        return f"{self.table_uri.rstrip('/')}/_last_survey.json"
