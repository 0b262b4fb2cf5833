"""What stores raise, as errors of ours that say what to do: see pipeline/errors.py."""

import contextlib
import errno
import sys
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError as BotoConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from pipeline.errors import AccessError, ConfigError, NoBucketError, StorageError, UnavailableError

PASSING = (408, 409, 429, 500)  # and all above 501, which says that the store knows no such request
BROKEN_OFF = ("RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch")
REFUSALS = {  # by S3's code: what to do about it
    "InvalidAccessKeyId": "this store knows no such AWS_ACCESS_KEY_ID: check it, the profile and the endpoint",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY, or the profile",
    "ExpiredToken": "the session's credentials have expired: get new ones",
    "RequestTimeTooSkewed": "this machine's clock is more than 15 min off: set it (NTP)",
}
MAY_PASS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY, errno.EAGAIN, errno.EINTR),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)


@contextlib.contextmanager
def explain_writing(what: str) -> Iterator[None]:
    """Turns what fails while something is written for the first time into an error that begins with `what`.

    Raises:
        ConfigError: it can't be written, and waiting changes nothing.
        StorageError: it may be possible later.
    """
    try:
        yield
    except NoBucketError as error:
        raise ConfigError(f"{what}: can't be written ({error})") from error
    except OSError as error:
        if error.errno in MAY_PASS:
            raise StorageError(f"{what}: can't be written now ({error}); run again") from error
        raise ConfigError(f"{what}: can't be written ({error}); name one that can, or make it so") from error


@contextlib.contextmanager
def explain(uri: str) -> Iterator[None]:
    """Turns what a store raises while it is asked for `uri` into an error of ours; FileNotFoundError passes.

    Raises:
        AccessError: there are no credentials, or the store refuses these.
        ConfigError: the store can have no object of that name.
        NoBucketError: the bucket does not exist.
        UnavailableError: the same request may be answered later.
        StorageError: it will not be; or a disk of this machine failed, which nobody waits for.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise AccessError(
            f"{uri}: {error}; set the AWS variables, a profile (storage.profile) or storage.anonymous"
        ) from error
    except ParamValidationError as error:
        raise ConfigError(f"{uri}: not a name that the store can have: {error}") from error
    except PermissionError as error:
        advice = REFUSALS.get(_reply(error).get("Code", ""), "check the credentials and the permissions")
        raise AccessError(f"{uri}: access denied ({_reason(error)}); {advice}") from error
    except FileNotFoundError as error:
        if _reply(error).get("Code") == "NoSuchBucket":
            raise no_bucket("/".join(uri.split("/")[:3])) from error
        raise
    except raised_by_stores() as error:
        is_remote = uri.partition("://")[0] != "file" if "://" in uri else False
        kind = UnavailableError if is_remote and _may_pass(error) else StorageError
        raise kind(f"{uri}: the store failed ({_reason(error)}); run again: finished units are kept") from error


def raised_by_stores() -> tuple[type[Exception], ...]:
    """Lists what a store raises; aiohttp, which s3fs imports, has errors of its own for a reply that breaks off."""
    aiohttp = sys.modules.get("aiohttp")
    of_aiohttp = (aiohttp.ClientError,) if aiohttp else ()
    return (OSError, BotoCoreError, ResponseParserError, *of_aiohttp)


def no_bucket(bucket: str) -> NoBucketError:
    """Makes the error for a bucket, by its URI, that does not exist."""
    return NoBucketError(f"{bucket}: no such bucket; check the name and the endpoint")


def _may_pass(error: Exception) -> bool:
    """Whether the same request may be answered later. What a store says of the request itself it will say again."""
    refusal = _refusal(error)
    if refusal is None:
        away = (HTTPClientError, BotoConnectionError)
        return isinstance(error, away) or not isinstance(error, BotoCoreError)
    status = refusal.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status in PASSING or status > 501 or _reply(error).get("Code") in BROKEN_OFF


def _reason(error: Exception) -> str:
    """The store's code and message. Ceph sends codes alone, and s3fs keeps messages alone."""
    reply = _reply(error)
    return ": ".join(filter(None, (reply.get("Code"), reply.get("Message")))) or str(error)


def _reply(error: Exception) -> dict[str, Any]:
    refusal = _refusal(error)
    return refusal.response["Error"] if refusal else {}


def _refusal(error: BaseException | None) -> ClientError | None:
    """What the store replied, from under what s3fs made of it."""
    while error is not None and not isinstance(error, ClientError):
        error = error.__cause__
    return error
