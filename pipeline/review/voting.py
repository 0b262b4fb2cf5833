"""What several people say of one document, as one label."""

from collections import Counter
from collections.abc import Sequence

Labels = frozenset[str]  # of one person; of one label at most where a document has one


def agreed_label(votes: Sequence[Labels]) -> Labels | None:
    """Gives the label that most have given, of documents that have one; None for a tie."""
    (label, most), *others = Counter(votes).most_common()
    return None if others and others[0][1] == most else label


def agreed_labels(votes: Sequence[Labels]) -> Labels | None:
    """Gives each label that more than half have given, of documents that may have several; None for a tie in one."""
    counts = Counter(label for vote in votes for label in vote)
    if any(2 * count == len(votes) for count in counts.values()):
        return None
    return frozenset(label for label, count in counts.items() if 2 * count > len(votes))
