"""What can go wrong, sorted by what the caller should do.

RookeryError                 1   a fault of ours: report it
├── ConfigError              2   change the job file or the command line
├── InputError               3   change the input, then run again
│   ├── CorpusError              a file, a column or a bucket of the corpus
│   ├── NoBucketError            there is no such bucket; the table's is a ConfigError
│   ├── CheckpointError          a file, a key or a setting of the checkpoint
│   └── AccessError              a store refuses: credentials or permissions
├── ErrorBudgetError         4   too many documents could not be labelled: look at them
├── ConflictError            5   another run holds what this one wants
├── HeldBackError            6   a gate, or a rollback, holds back what this run would publish: decide
├── BudgetSpentError         7   the run's budget is spent: the next run goes on
└── RetryableError          75   run again: nothing is lost
    ├── SourceChangedError       a corpus file is no longer the one that was planned
    └── StorageError             the store failed: no space, a request that it can't serve
        └── UnavailableError         no answer for now: it was waited for, for storage.retry

`exit_code` follows sysexits' EX_TEMPFAIL for "try again", so that a scheduler can tell.

A place that the job would write and never can (a read-only disk, no permission on it, a file where a folder should
be, a missing bucket) is a ConfigError, found before the first unit: another place must be named. A store that asks
who we are and then refuses is an AccessError, as for reading. What becomes so in mid-run, or is full, may pass:
StorageError.

No error says "failed, or maybe done": nobody who catches one has to ask which. A put that failed is read back before
it is given up (Storage.put_if_absent), and every other write comes to the same if it is done twice, so that the
answer to all of RetryableError is to run again.
"""


class RookeryError(Exception):
    """Raised itself where Rookery contradicts itself, such as rows that do not add up: report it.

    All that Rookery raises for people to read is of this class; `exit_code` is the process's, here 1.
    """

    exit_code = 1


class ConfigError(RookeryError):
    """Raised by what uses a setting that is wrong, or names a wrong place; change the job file or the command.

    Exit code 2. The message begins with the setting's path.
    """

    exit_code = 2


class InputError(RookeryError):
    """Stands for all that is wrong with what a job reads; change the input, then run again. Exit code 3."""

    exit_code = 3


class CorpusError(InputError):
    """Raised by what reads the corpus for files, columns or ids that are wrong; correct them. Exit code 3."""


class NoBucketError(InputError):
    """Raised by storage where a bucket that is read does not exist; check its name and the endpoint. Exit code 3."""


class CheckpointError(InputError):
    """Raised by what opens a checkpoint for a file, a tensor or a setting of it that is wrong; mend it. Exit code 3."""


class AccessError(InputError):
    """Raised by storage where a store refuses; give it credentials, or the permission that it wants. Exit code 3."""


class ErrorBudgetError(RookeryError):
    """Raised before publishing or measuring where more documents failed than max_errors allows; look at them.

    Exit code 4. Then mend them or raise max_errors. Finished units are kept.
    """

    exit_code = 4


class ConflictError(RookeryError):
    """Raised where another run holds or has published what this one wants; let it end, then run again. Exit code 5."""

    exit_code = 5


class HeldBackError(RookeryError):
    """Raised where a gate breaks, or where a person has undone what this run would publish; decide which is right.

    Exit code 6. The message says which gate found what, or what was undone, and what publishes it all the same. What a
    gate holds back is computed and kept; after a rollback nothing is computed.
    """

    exit_code = 6


class BudgetSpentError(RookeryError):
    """Raised where a run has spent its `budget` before all is labelled; run again to go on. Exit code 7.

    Finished units are kept, and nothing is published.
    """

    exit_code = 7


class RetryableError(RookeryError):
    """Stands for all that may be right the next time; run again: finished units are kept. Exit code 75."""

    exit_code = 75


class SourceChangedError(RetryableError):
    """Raised by storage where a corpus file is not the one that was planned; run again, to plan anew. Exit code 75."""


class StorageError(RetryableError):
    """Raised by storage where a store or a disk failed; do what the message says, then run again. Exit code 75."""


class UnavailableError(StorageError):
    """Raised by storage where a store gave no answer for storage.retry; run again when it does. Exit code 75."""
