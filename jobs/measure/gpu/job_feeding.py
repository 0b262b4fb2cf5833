"""The predictor fed as the job feeds it, but for Ray: does the GPU wait?

Processes read the sample's Parquet with pyarrow, and the job's own Packer tokenizes, cuts and packs a unit into a row
of PACKS. Those rows come here through a pipe, where Ray would put them into shared memory. Here, as in the job's actor,
`split_packs` and one `predict_all` take them. The corpus' readers themselves are not part of it: they need pydantic.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pyarrow as pa

from jobs.measure.benchmark.timing import seconds
from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.feeder import load_packer, packs_of_unit
from jobs.measure.gpu.gpu_idle import idle_share
from jobs.measure.gpu.models import model_of, rookery_of
from jobs.measure.gpu.scope import Scope
from pipeline.inference.predictor import Predictor
from pipeline.schema import only_list
from pipeline.text.packing import split_packs
from pipeline.text.windows import WindowPolicy


def measure_feeding(scope: Scope) -> Iterator[ResultRow]:
    """Yields what the same units take from memory, and fed by processes."""
    predictor = rookery_of(model_of(scope), scope, scope.dtype).predictor
    block = predictor.classifier.encoder_config.block_size
    policy = WindowPolicy(scope.longest, scope.long_documents, overlap=scope.longest // 32)
    loading = (policy, scope.pack, block)
    with ProcessPoolExecutor(scope.feeders, get_context("spawn"), load_packer, loading) as pool:

        def feed() -> Iterator[pa.Table]:
            return pool.map(packs_of_unit, [scope.fed_documents] * scope.fed_units)

        units = list(feed())  # now every process has started
        count = sum(int(only_list(unit, "window_tokens").sum()) for unit in units)
        _compute(predictor, partial(iter, units[:1]))
        for name, source in (("from memory", partial(iter, units)), ("fed", feed)):
            yield name, _measured(partial(_compute, predictor, source), count, scope)


def _measured(work: Callable[[], None], count: int, scope: Scope) -> dict[str, float]:
    rate = count / seconds(work, scope.device)
    return {"tokens/s": rate, "GPU idle": idle_share(work, scope.device)}


def _compute(predictor: Predictor, source: Callable[[], Iterable[pa.Table]]) -> None:
    """Computes the logits of units, one pack after the other, the next ones under way."""
    for _ in predictor.predict_all(pack for unit in source() for pack in split_packs(unit)):
        pass
