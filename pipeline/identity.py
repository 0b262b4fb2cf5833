"""What ids and keys are made of.

Everything that is named by its content (a unit, a scoring or a decision key, a group of a table) is named by a digest
of a canonical form: a tag, which holds a version, and plain values, both written down where the thing is defined. No
name of a class, of a field or of a file of ours goes in, no message of a library, no default: whatever is renamed,
moved or reworded, and whichever library is upgraded, an id stays. To change a form is to compute every corpus again:
raise the version in its tag, and say so in CHANGELOG.md.

The canonical form is the JSON array [tag, value, ...] of RFC 8259 as UTF-8, without spaces, the keys of objects sorted,
numbers as Python's repr writes them.
"""

import hashlib
import json
from collections.abc import Iterator

_JSON = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)  # made once: a million ids


def digest(tag: str, *values: object) -> str:
    """Hashes a canonical form; gives SHA-256 as 64 hex digits.

    Args:
        tag: what the values mean, and the version of their order, as "unit/1".
        values: strings, integers, floats, booleans, None, and lists, tuples and dicts of these.

    Raises:
        ValueError: a float that is not finite.
    """
    return hashlib.sha256(canonical(tag, *values)).hexdigest()


def long_digest(tag: str, *values: object) -> str:
    """Gives what `digest` gives, in memory that doesn't grow; an iterator among the values stands for its items' list.

    Raises as `digest`.
    """
    hashed = hashlib.sha256(canonical(tag)[:-1])
    for value in values:
        hashed.update(b",")
        if isinstance(value, Iterator):
            hashed.update(b"[")
            for number, item in enumerate(value):
                hashed.update((b"," if number else b"") + _encoded(item))
            hashed.update(b"]")
        else:
            hashed.update(_encoded(value))
    hashed.update(b"]")
    return hashed.hexdigest()


def canonical(tag: str, *values: object) -> bytes:
    """Writes the bytes that `digest` hashes."""
    return _encoded([tag, *values])


def _encoded(value: object) -> bytes:
    # surrogates that a file's name may hold have no UTF-8, but must have an id
    return _JSON.encode(value).encode("utf-8", "surrogatepass")
