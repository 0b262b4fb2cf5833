"""What happens in each night of a month."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jobs.measure.month.living_corpus import LivingCorpus

Happening = Literal[
    "label",
    "new checkpoint",
    "bad checkpoint",
    "new temperature",
    "crash",
    "two at once",
    "rollback",
    "erase",
    "vacuum",
]


@dataclass(frozen=True, slots=True)
class Night:
    """One night: what became of the corpus since the last one, and what is done."""

    what: str
    change: Callable[[LivingCorpus], object] = lambda _corpus: None
    happening: Happening = "label"


def few(corpus: LivingCorpus) -> int:
    """One document in a hundred."""
    return max(1, len(corpus.documents) // 100)


def a_bit_of_everything(corpus: LivingCorpus) -> None:
    """Documents that are new, edited and gone."""
    corpus.add(few(corpus))
    corpus.edit(few(corpus))
    corpus.delete(few(corpus))


def a_month(documents: int) -> list[Night]:
    """Thirty nights that begin with so many documents."""
    edits = Night("1 % edited", lambda corpus: corpus.edit(few(corpus)))
    adds = Night("1 % new", lambda corpus: corpus.add(few(corpus)))
    return [
        Night("all new", lambda corpus: corpus.add(documents, files=6)),
        Night("nothing changed"),
        adds,
        edits,
        Night("1 % deleted", lambda corpus: corpus.delete(few(corpus))),
        Night("new, edited, deleted", a_bit_of_everything),
        Night("one edited in each file", LivingCorpus.edit_in_each_file),
        Night("compacted upstream", LivingCorpus.compact),
        Night("nothing changed"),
        edits,
        Night("5 % new", lambda corpus: corpus.add(5 * few(corpus), files=3)),
        Night("a new checkpoint", happening="new checkpoint"),
        edits,
        Night("renamed", LivingCorpus.rename),
        Night("shuffled into other files", LivingCorpus.shuffle),
        Night("a bad checkpoint, 1 % new", adds.change, "bad checkpoint"),
        Night("the good one again, 1 % edited", edits.change),
        adds,
        Night("killed amid 1 % edited, run again", edits.change, "crash"),
        Night("a file deleted", LivingCorpus.delete_file),
        Night("two drivers at once, new, edited, deleted", a_bit_of_everything, "two at once"),
        Night("1 % deleted", lambda corpus: corpus.delete(few(corpus))),
        Night("another temperature", happening="new temperature"),
        edits,
        Night("rolled back", happening="rollback"),
        edits,
        adds,
        Night("two documents erased", happening="erase"),
        Night("new, edited, deleted", a_bit_of_everything),
        Night("vacuum", happening="vacuum"),
    ]
