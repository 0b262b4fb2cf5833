"""A document's tokens -> windows of at most `max_tokens`, [CLS] and [SEP] included.

`windows`    every token is read: consecutive windows share `overlap` tokens
`head`       the first window only
`head_tail`  one window of the document's first and last halves of a window
"""

from dataclasses import dataclass

from pipeline.terms import Aggregation, LongDocuments

SPECIAL_TOKENS = 2  # [CLS] and [SEP]

Span = tuple[int, int]  # tokens [start, stop) of a document


@dataclass(frozen=True, slots=True)
class Window:
    """One or two spans of a document, read in this order, after the question if there is one."""

    spans: tuple[Span, ...]
    question_tokens: int = 0

    @property
    def n_tokens(self) -> int:
        """Tokens of the window, [CLS], [SEP] and the question included."""
        spans = sum(stop - start for start, stop in self.spans)
        return SPECIAL_TOKENS + self.question_tokens + spans


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """How documents longer than a window are cut, and how their windows' scores become the document's.

    Units: tokens. Raises ValueError for an overlap that leaves no way forward.
    """

    max_tokens: int = 4096
    long_documents: LongDocuments = "windows"
    overlap: int = 128
    question_tokens: int = 0  # before the document's in every window, with the [SEP] between the two
    aggregation: Aggregation = "mean"

    def __post_init__(self) -> None:
        if self.long_documents == "windows" and self.overlap >= self.body:
            others = SPECIAL_TOKENS + self.question_tokens
            raise ValueError(f"text.overlap {self.overlap}: expected less than max_tokens - {others} = {self.body}")

    @property
    def body(self) -> int:
        """Tokens of the document in a full window."""
        return self.max_tokens - SPECIAL_TOKENS - self.question_tokens

    def truncates(self, n_tokens: int) -> bool:
        """Tells whether some tokens of a document of `n_tokens` are in no window."""
        return self.long_documents != "windows" and n_tokens > self.body

    def windows(self, n_tokens: int) -> list[Window]:
        """Cuts a document of `n_tokens` tokens into windows; one without tokens has one empty window."""
        return [Window(spans, self.question_tokens) for spans in self._spans(n_tokens)]

    def _spans(self, n_tokens: int) -> list[tuple[Span, ...]]:
        if n_tokens <= self.body:
            return [((0, n_tokens),)]
        if self.long_documents == "head":
            return [((0, self.body),)]
        if self.long_documents == "head_tail":
            head = (self.body + 1) // 2
            return [((0, head), (n_tokens - (self.body - head), n_tokens))]
        stride = self.body - self.overlap
        starts = range(0, n_tokens - self.overlap, stride)
        return [((start, min(start + self.body, n_tokens)),) for start in starts]
