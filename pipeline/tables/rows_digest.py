"""A digest of predictions that every warehouse can compute of rows in any order, and that adds up over files.

Of each row it is the first 32 bits of MD5 over its keys, content and id; of several rows the sum. Databases have MD5 of
a string and a sum, and hardly any other digest in common. It is for rows that were not loaded, loaded twice or loaded
from another snapshot, not for rows that somebody forged. A million rows take 2 s of one core.
"""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

DIGESTED = ("scoring_key", "decision_key", "content_sha256", "id")  # the id last: it alone may hold the separator
SEPARATOR = "|"
BATCH_ROWS = 65536
_BYTES = 4


def rows_digest(rows: pa.Table) -> int | None:
    """Digests rows that have the columns DIGESTED; None for others, as of documents without a prediction."""
    if not {*DIGESTED} <= {*rows.schema.names}:
        return None
    total = 0
    for batch in rows.select(DIGESTED).to_batches(max_chunksize=BATCH_ROWS):
        joined = pc.binary_join_element_wise(*batch.columns, SEPARATOR).cast(pa.binary())
        total += sum(
            int.from_bytes(hashlib.md5(row, usedforsecurity=False).digest()[:_BYTES]) for row in joined.to_pylist()
        )
    return total
