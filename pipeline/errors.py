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
└── RetryableError          75   run again: nothing is lost
    ├── SourceChangedError       a corpus file is no longer the one that was planned
    └── StorageError             the store failed: no space, a request that it can't serve
        └── UnavailableError         no answer for now: it was waited for, for storage.retry

`exit_code` follows sysexits' EX_TEMPFAIL for "try again", so that a scheduler can tell.

A place that the job would write and never can (a read-only disk, no permission on it, a file where a folder should be, a
missing bucket) is a ConfigError, found before the first unit: another place must be named. A store that asks who we are and
then refuses is an AccessError, as for reading. What becomes so in mid-run, or is full, may pass: StorageError.
"""


class RookeryError(Exception):
    exit_code = 1


class ConfigError(RookeryError):
    exit_code = 2


class InputError(RookeryError):
    exit_code = 3


class CorpusError(InputError):
    pass


class NoBucketError(InputError):
    pass


class CheckpointError(InputError):
    pass


class AccessError(InputError):
    pass


class ErrorBudgetError(RookeryError):
    exit_code = 4


class ConflictError(RookeryError):
    exit_code = 5


class RetryableError(RookeryError):
    exit_code = 75


class SourceChangedError(RetryableError):
    pass


class StorageError(RetryableError):
    pass


class UnavailableError(StorageError):
    pass
