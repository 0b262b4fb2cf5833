"""A predictor in a process of its own, for packs that may end it: a fault of a library, or memory that the system takes back.

A pack that ends the process is halved until one window is left that does; the others have their logits. A pack, and that
window, must do so twice, since a process may also be ended from outside.

    parent ── lengths, tokens ──▶ child        one frame of bytes each, never a pickle
    parent ◀── logits ──────────  child        or ERROR and a message

Run as `python -m pipeline.inference.isolated FD CHECKPOINT DEVICE DTYPE THREADS`.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from pipeline.errors import RetryableError, RookeryError
from pipeline.inference.dtype import Dtype
from pipeline.inference.predictor import Lengths, Logits, Predictor, Tokens, halves

READY, LOGITS, ERROR = b"R", b"L", b"E"
DEATHS = 2  # of the process, until what it computed is blamed
PROCESS_ENDED = (EOFError, ConnectionError)


class IsolatedPredictor:
    """The same logits as a Predictor's for packs that do no harm; a window that ends the process has none."""

    def __init__(
        self,
        path: Path,
        *,
        device: str,
        dtype: Dtype,
        threads: int,
        outputs: int,
        per_token: bool = False,
    ) -> None:
        """`outputs`: L of the checkpoint's head. `per_token`: whether it has a row for each token, not for each window."""
        self._arguments = [str(path), device, dtype, str(threads)]
        self._outputs = outputs
        self._per_token = per_token
        self._child: tuple[subprocess.Popen[bytes], Connection] | None = None

    def predict_all(
        self, packs: Iterable[tuple[Tokens, Lengths]]
    ) -> Iterator[tuple[Logits, npt.NDArray[np.bool_]]]:
        """For each pack its logits, [R, L], and which of its windows [W] ended the process: theirs are NaN.

        Raises:
            RetryableError: the process ends before it has computed anything.
            RookeryError: what the predictor raised.
        """
        for tokens, lengths in packs:
            yield self._predict(tokens, lengths, DEATHS)

    def _predict(
        self, tokens: Tokens, lengths: Lengths, deaths: int
    ) -> tuple[Logits, npt.NDArray[np.bool_]]:
        for _ in range(DEATHS if len(lengths) == 1 else deaths):
            logits_RL = self._ask(tokens, lengths)
            if logits_RL is not None:
                return logits_RL, np.zeros(len(lengths), bool)
        if len(lengths) == 1:
            rows = len(tokens) if self._per_token else 1
            return np.full((rows, self._outputs), np.nan, np.float32), np.ones(1, bool)
        found = [self._predict(*half, deaths=1) for half in halves(tokens, lengths)]
        return np.concatenate([logits for logits, _ in found]), np.concatenate(
            [w for _, w in found]
        )

    def _ask(self, tokens: Tokens, lengths: Lengths) -> Logits | None:
        """The logits, or None if the process ended meanwhile."""
        connection = self._connection()
        try:
            connection.send_bytes(lengths.astype(np.int64).tobytes())
            connection.send_bytes(tokens.astype(np.int64).tobytes())
            reply = connection.recv_bytes()
        except PROCESS_ENDED:
            self.close()
            return None
        if reply.startswith(ERROR):
            raise RookeryError(reply.removeprefix(ERROR).decode())
        logits = np.frombuffer(reply, np.float32, offset=len(LOGITS))
        return logits.reshape(-1, self._outputs)

    def _connection(self) -> Connection:
        if self._child is None:
            self._child = self._start()
        return self._child[1]

    def _start(self) -> tuple[subprocess.Popen[bytes], Connection]:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno()), *self._arguments]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        connection = Connection(ours.detach())
        try:
            assert connection.recv_bytes() == READY
        except PROCESS_ENDED as error:
            raise RetryableError(
                f"the process that was to compute {self._arguments[0]} apart ended while it loaded it "
                f"(status {process.wait()}): is there enough memory for two? Run again: finished units are kept"
            ) from error
        return process, connection

    def close(self) -> None:
        """Ends the process; the next pack starts another."""
        if self._child is None:
            return
        process, connection = self._child
        self._child = None
        connection.close()
        process.kill()
        process.wait()


def serve(connection: Connection, predictor: Predictor) -> None:
    """Answers until the other side is gone."""
    connection.send_bytes(READY)
    with contextlib.suppress(*PROCESS_ENDED):
        while True:
            lengths = np.frombuffer(connection.recv_bytes(), np.int64)
            tokens = np.frombuffer(connection.recv_bytes(), np.int64)
            try:
                reply = LOGITS + predictor.predict(tokens, lengths).tobytes()
            except Exception as error:  # noqa: BLE001 - whatever it is, it did not end the process
                reply = ERROR + str(error).encode()
            connection.send_bytes(reply)


def main(arguments: list[str]) -> None:
    descriptor, path, device, dtype, threads = arguments
    predictor = Predictor.load(
        Path(path), device=device, dtype=cast(Dtype, dtype), threads=int(threads)
    )
    serve(Connection(int(descriptor)), predictor)


if __name__ == "__main__":
    main(sys.argv[1:])
