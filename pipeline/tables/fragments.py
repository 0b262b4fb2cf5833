"""Fragments: one Parquet object with a unit's results. The unit is done if and only if its fragment exists.

    <table>/_units/<scoring key>/<xx>/<unit id>.parquet

A fragment is put if absent, in one PUT. Its bytes are a function of the unit, so whoever writes it second wrote the same.
"""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.schema import FRAGMENT
from pipeline.storage import TRANSFERS, Storage
from pipeline.tables.files import parquet_bytes

LISTED_AT_ONCE = 1000  # objects that stores list in one reply
NOT_FINITE = {
    "stage": "predict",
    "reason": "not_finite",
    "message": "a logit is not a finite number; try compute.dtype fp32, or check the checkpoint",
}


@dataclass(frozen=True, slots=True)
class Windows:
    """What is known of a unit's windows, one entry each, in the order of their packs. W windows, L outputs, N documents."""

    tokens: npt.NDArray[np.int32]
    documents: npt.NDArray[np.int32]
    ordinals: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Fragments:
    """The finished units of one scoring key in one table."""

    storage: Storage
    table_uri: str
    scoring_key: str

    @property
    def folder(self) -> str:
        return f"{self.table_uri.rstrip('/')}/_units/{self.scoring_key}"

    def uri(self, unit: str) -> str:
        # two characters of the digest spread the keys over 256 prefixes, which stores throttle one by one
        return f"{self.folder}/{unit[:2]}/{unit}.parquet"

    def done(self, expected: int = 0) -> set[str]:
        """Ids of the units that have a fragment: a listing, nothing is read.

        Args:
            expected: about how many there are to find; many are listed by several requests at a time.
        """
        if expected <= LISTED_AT_ONCE:
            return self._listed(self.folder)
        with ThreadPoolExecutor(TRANSFERS) as pool:
            return set().union(*pool.map(self._listed, self.storage.folders_in(self.folder)))

    def _listed(self, folder: str) -> set[str]:
        names = (file.uri.rpartition("/")[2] for file in self.storage.find(folder))
        return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}

    def has(self, unit: str) -> bool:
        """Whether a unit is done by now."""
        return self.storage.stat(self.uri(unit)) is not None

    def write(self, unit: str, fragment: pa.Table) -> bool:
        """False where another attempt wrote other bytes first; its fragment stands."""
        return self.storage.put_if_absent(self.uri(unit), parquet_bytes(fragment))

    def read(self, units: list[str]) -> list[pa.Table]:
        """FRAGMENT tables of the units, in the order asked for. Raises FileNotFoundError."""
        blobs = self.storage.read_all([self.uri(unit) for unit in units])
        return [pq.read_table(io.BytesIO(blob)).cast(FRAGMENT) for blob in blobs]

    def read_reasons(self, units: list[str]) -> list[pa.Table]:
        """`stage` and `reason` of each document of the units, null where it did not fail; nothing else is decoded."""
        blobs = self.storage.read_all([self.uri(unit) for unit in units])
        return [pq.read_table(io.BytesIO(blob), columns=["stage", "reason"]) for blob in blobs]


def fragment(
    documents: pa.Table, windows: Windows, logits_WL: npt.NDArray[np.float32], aggregation: str
) -> pa.Table:
    """Document records and the logits of their windows -> FRAGMENT, one row per document.

    A document with a logit that is not a finite number becomes an error.
    """
    logits_NL = aggregate(windows, logits_WL, len(documents), aggregation)
    rows = []
    for record, logits_L in zip(documents.to_pylist(), logits_NL, strict=True):
        if record["reason"]:
            rows.append(record)
        elif np.isfinite(logits_L).all():
            rows.append(record | {"logits": logits_L.tolist()})
        else:
            rows.append(record | NOT_FINITE)
    return pa.Table.from_pylist(rows, schema=FRAGMENT)


def aggregate(
    windows: Windows, logits_WL: npt.NDArray[np.float32], n_documents: int, how: str
) -> npt.NDArray[np.float32]:
    """Window logits -> document logits [N, L], summed in float64 and window order; documents without windows get NaN.

    `mean` weighs windows by their tokens, `max` is per output, `first` takes the first window.
    """
    order = np.lexsort((windows.ordinals, windows.documents))
    documents_W = windows.documents[order]
    tokens_W1 = windows.tokens[order].astype(np.float64)[:, None]
    logits_WL = logits_WL[order].astype(np.float64)
    present, first = np.unique(documents_W, return_index=True)
    logits_NL = np.full((n_documents, logits_WL.shape[1]), np.nan)
    if how == "first":
        logits_NL[present] = logits_WL[first]
    elif how == "max":
        logits_NL[present] = np.maximum.reduceat(logits_WL, first)
    else:
        total = np.add.reduceat(logits_WL * tokens_W1, first)
        logits_NL[present] = total / np.add.reduceat(tokens_W1, first)
    return logits_NL.astype(np.float32)
