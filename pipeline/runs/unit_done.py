"""What is known of a unit that is done: what was in it, and where its time went."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnitDone:
    """A unit whose fragment is in a table or, if `incomplete`, some rows of it are.

    Of a unit that was put together of others' rows nothing is measured.

    Attributes:
        unit: its id.
        table: the number of the table in the run.
        taken_over: of `documents`: rows that other units had.
        padding: tokens that were computed beside `tokens`.
        actor: host and process of the encoder.
        device: the hardware that it ran on.
        lengths: documents by the number of bits that the count of their tokens has.
    """

    unit: str
    table: int
    documents: int
    errors: int
    windows: int
    tokens: int
    taken_over: int = 0
    incomplete: bool = False
    read_s: float = 0.0
    text_s: float = 0.0  # tokens, windows, packs
    wait_s: float = 0.0  # of the encoder's actor, for this unit's packs
    encode_s: float = 0.0
    write_s: float = 0.0
    padding: int = 0
    actor: str = ""
    device: str = ""
    lengths: Sequence[int] = ()
