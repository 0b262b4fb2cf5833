"""The command's options, and its course: contenders, real mix, lengths, stages, agreement, ratios."""

import argparse
import copy
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.measure.benchmark import agreement, machine, report, stages, token_windows
from jobs.measure.benchmark.contenders import Contender, Rookery, Transformers, best_batch, random_model, say
from jobs.measure.benchmark.timing import medians
from jobs.measure.benchmark.token_windows import MAX_TOKENS, TokenWindow
from jobs.measure.page import Page
from jobs.sample import CHECKPOINT
from pipeline.added_tokens import SPIECE
from pipeline.errors import ConfigError
from pipeline.inference.dtype import resolve_dtype
from pipeline.terms import DeviceKind, Dtype

# On a CPU transformers spends much of its time on page faults. The ratios are against transformers as it runs in a
# process of its own; beside them stands what it does with the malloc limits that our predictor sets.
OUR_MALLOC = "with our malloc, transformers "
LENGTHS = (512, 1024, 2048, MAX_TOKENS)
_DOCUMENTS = {"cpu": 8, "cuda": 512}  # of the real mix
TOKENS = {"cpu": MAX_TOKENS, "cuda": 262_144}  # of each length
STAGE_WINDOWS = {"cpu": 2, "cuda": 16}
AGREEMENT_DOCUMENTS = 1_000


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; `argument_parser` has what each is for."""

    corpus: str | None
    device: DeviceKind
    documents: int
    rounds: int
    json: Path | None
    markdown: Path | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark as the arguments, or the process's own, say; prints and writes its figures."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _options(arguments)
    page = Page(options.markdown)
    figures = run_benchmark(options)
    print(report.text(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    command = shlex.join(["rookery", "benchmark", *arguments])
    page.write(f"By `{command}` on {report.machine_line(figures)}.", report.markdown(figures))


def argument_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line, whose defaults depend on whether there is a GPU."""
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(
        prog="rookery benchmark",
        description="Measure the encoder on this machine, beside transformers and beside what the machine allows.",
    )
    parser.add_argument(
        "--corpus",
        help="Parquet with a column `text`, file or folder: real documents instead of random tokens of real lengths, "
        "and the labels' agreement",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default=default_device, help="default: cuda where there is one"
    )
    parser.add_argument(
        "--documents",
        type=int,
        help=f"in the real mix; default {_DOCUMENTS['cpu']} on a CPU, {_DOCUMENTS['cuda']} on a GPU",
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved runs; medians are reported")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--markdown", type=Path, help="write the tables into this page too")
    return parser


def _options(arguments: Sequence[str] | None) -> Options:
    parsed = argument_parser().parse_args(arguments)
    count = parsed.documents or _DOCUMENTS[parsed.device]
    return Options(
        corpus=parsed.corpus,
        device=parsed.device,
        documents=count,
        rounds=parsed.rounds,
        json=parsed.json,
        markdown=parsed.markdown,
    )


def run_benchmark(options: Options) -> dict[str, Any]:
    """Measures every figure; gives them ready for JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        model = random_model()
        model.save_pretrained(scratch)
        shutil.copy(CHECKPOINT / SPIECE, scratch)
        rookery = {dtype: Rookery(Path(scratch), options.device, dtype) for dtype in _dtypes(options.device)}
    auto = resolve_dtype("auto", options.device)
    field = Field(options, auto, rookery, _models(model, options.device, auto))
    texts = token_windows.read_texts(options.corpus) if options.corpus else None
    windows = (
        token_windows.of_texts(texts, options.documents)
        if texts is not None
        else token_windows.real_mix(options.documents)
    )
    figures: dict[str, Any] = {
        "machine": machine.facts(options.device),
        "dtype": auto,
        "rounds": options.rounds,
        "real_mix": field.compare("real mix", windows, list(rookery), our_malloc=options.device == "cpu"),
        "lengths": {
            length: field.compare(f"{length} tokens", token_windows.of_length(length, TOKENS[options.device]), [auto])
            for length in LENGTHS
        },
    }
    say("stages")
    measured = stages.measure_stages(rookery[auto].predictor, STAGE_WINDOWS[options.device], options.device)
    figures["stages"] = asdict(measured)
    if texts is not None:
        figures["agreement"] = _agreement(
            token_windows.of_texts(texts, AGREEMENT_DOCUMENTS),
            [dtype for dtype in rookery if dtype != "fp32"],
            options.device,
        )
    return figures | {"ratios": _ratios(figures)}


def _dtypes(device: DeviceKind) -> list[Dtype]:
    """bf16, fp32, and int8 where it can be."""
    try:
        return ["bf16", "fp32", resolve_dtype("int8", device)]
    except ConfigError:
        return ["bf16", "fp32"]


def _models(model: Any, device: str, auto: Dtype) -> dict[Dtype, Any]:
    models: dict[Dtype, Any] = {"fp32": model.to(device)}
    if auto == "bf16":
        models["bf16"] = copy.deepcopy(model).bfloat16()
    return models


@dataclass(frozen=True, slots=True)
class Field:
    """All contenders, by the dtype that each computes in."""

    options: Options
    auto: Dtype
    rookery: dict[Dtype, Rookery]
    models: dict[Dtype, Any]

    def compare(
        self, name: str, windows: list[TokenWindow], dtypes: list[Dtype], *, our_malloc: bool = False
    ) -> dict[str, Any]:
        """Compares ours in `dtypes` with transformers, alone and at its best batch size, on the same windows."""
        contenders: dict[str, Contender] = {f"rookery {dtype}": self.rookery[dtype] for dtype in dtypes}
        for dtype, model in self.models.items():
            contenders[f"transformers {dtype}, one at a time"] = Transformers(model, self.options.device, 1)
            say(f"{name}, transformers {dtype}")
            if batch := best_batch(partial(Transformers, model, self.options.device), windows, self.options.device):
                contenders[f"transformers {dtype}, sorted batches of {batch}"] = Transformers(
                    model, self.options.device, batch
                )
        if our_malloc:
            contenders |= {
                f"{OUR_MALLOC}{dtype}, one at a time": Transformers(model, self.options.device, 1, our_malloc=True)
                for dtype, model in self.models.items()
            }
        say(f"{name}: {self.options.rounds} rounds of {len(contenders)} contenders")
        logits: dict[str, Any] = {}
        works = {key: _keeping(logits, key, contender, windows) for key, contender in contenders.items()}
        passes = medians(works, self.options.rounds, self.options.device)
        times = {key: passes[key] / contender.repeats for key, contender in contenders.items()}
        expected = logits["transformers fp32, one at a time"]
        return {
            "documents": len(windows),
            "tokens": token_windows.tokens(windows),
            "contenders": [
                {
                    "name": key,
                    "seconds": times[key],
                    "tokens_per_second": token_windows.tokens(windows) / times[key],
                    "documents_per_second": len(windows) / times[key],
                    "padding": contender.padding(windows),
                    "worst_logit_error": float(np.abs(logits[key] - expected).max()),
                }
                for key, contender in contenders.items()
            ],
        }


def _keeping(logits: dict[str, Any], key: str, contender: Contender, windows: list[TokenWindow]) -> Callable[[], None]:
    def work() -> None:
        logits[key] = contender(windows)

    return work


def _agreement(windows: list[TokenWindow], dtypes: list[Dtype], device: DeviceKind) -> list[dict[str, Any]]:
    say(f"labels of {len(windows)} documents")
    return [asdict(of_dtype) for of_dtype in agreement.measure_agreement(windows, dtypes, device)]


def _ratios(figures: dict[str, Any]) -> dict[str, float]:
    mix, auto = figures["real_mix"], figures["dtype"]
    ratios = {"real_mix_vs_transformers_same_dtype": _speedup(mix, auto, auto)}
    for contender in mix["contenders"]:
        owner, _, dtype = contender["name"].partition(" ")
        if owner == "rookery":
            key = f"real_mix_{dtype}_vs_transformers_fp32"
            ratios[key] = _speedup(mix, dtype, "fp32")
            if mix["contenders"][-1]["name"].startswith(OUR_MALLOC):
                ratios[f"{key}_with_our_malloc"] = _speedup(mix, dtype, "fp32", OUR_MALLOC)
    if "real_mix_int8_vs_transformers_fp32" in ratios:
        ratios["real_mix_int8_vs_bf16"] = _speedup(mix, "int8", "bf16", "rookery ")
    for length, comparison in figures["lengths"].items():
        ratios[f"{length}_vs_transformers_same_dtype"] = _speedup(comparison, auto, auto)
        ratios[f"{length}_vs_transformers_fp32"] = _speedup(comparison, auto, "fp32")
    stage = figures["stages"]
    return ratios | {
        "share_of_gemm_floor_4096": stage["share_of_gemm_floor"],
        "share_of_gemm_floor_4096_first_rows_only": stage["share_of_gemm_floor_first_rows_only"],
    }


def _speedup(comparison: dict[str, Any], ours: str, theirs: str, prefix: str = "transformers ") -> float:
    """Against transformers at its faster batch size."""
    times = {contender["name"]: contender["seconds"] for contender in comparison["contenders"]}
    best = min(value for name, value in times.items() if name.startswith(f"{prefix}{theirs}"))
    return float(best / times[f"rookery {ours}"])
