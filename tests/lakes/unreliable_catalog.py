"""A catalog on SQLite whose commits fail as they do on a network: by pyiceberg's own seam, `py-catalog-impl`."""

import os
import signal
from typing import Any, ClassVar

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, ServerError, ServiceUnavailableError

from tests.dying_storage import DyingError

NAME = f"{__name__}.UnreliableCatalog"


class UnreliableCatalog(SqlCatalog):
    """`faults`: what happens to the next commits, one each; then all is well. In a process of its own: $LAKE_FAULT."""

    faults: ClassVar[list[str]] = []
    commits: ClassVar[int] = 0

    def commit_table(self, table: Any, requirements: Any, updates: Any) -> Any:
        type(self).commits += 1
        fault = self.faults.pop(0) if self.faults else os.environ.get("LAKE_FAULT", "")
        if fault == "unavailable":
            raise ServiceUnavailableError("no answer")
        if fault == "conflict":
            raise CommitFailedException("somebody was first")
        if fault == "dies before":
            raise DyingError
        if fault == "killed before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = super().commit_table(table, requirements, updates)
        if fault == "lost reply":
            raise ServerError("the connection broke off")
        if fault == "dies after":
            raise DyingError
        if fault == "killed after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
