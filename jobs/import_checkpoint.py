"""`rookery import`: a checkpoint folder from weights that others wrote."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline.added_tokens import SPIECE, TOKENIZER_JSON, declared
from pipeline.checkpoints.config import read_encoder
from pipeline.checkpoints.folder import refuse_adapter
from pipeline.terms import PoolingKind, ProblemType
from pipeline.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pipeline.checkpoints.recognition import Recognised

_console = Console(highlight=False)


def import_checkpoint(
    source: Annotated[Path, typer.Argument(exists=True, help="A folder, or a file: safetensors, or a state dict.")],
    target: Annotated[Path, typer.Argument(help="The checkpoint folder to write.")],
    config: Annotated[
        Path | None,
        typer.Option(help="The encoder's config.json, if it is not beside the weights."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="Its spiece.model or tokenizer.json, or the folder that has them, if they are not beside the weights."
        ),
    ] = None,
    pooling: Annotated[
        PoolingKind | None, typer.Option(help="What the head gets, where the weights don't say it.")
    ] = None,
    problem_type: Annotated[
        ProblemType | None,
        typer.Option(
            help="What follows the last layer: softmax (single_label), sigmoid (multi_label) or nothing (regression)."
        ),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="The outputs' names in their order: politics,sports.")] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="The attribute that is BigBirdModel, where there are several."),
    ] = None,
    dense: Annotated[
        str | None,
        typer.Option(help="The layer before the last, where shapes leave a choice: fc1."),
    ] = None,
    linear: Annotated[str | None, typer.Option(help="The last layer, where shapes leave a choice: classifier.")] = None,
    attention: Annotated[
        str | None,
        typer.Option(help="The attention's layer, or its two, where shapes leave a choice: attention.0,attention.2."),
    ] = None,
) -> None:
    """Write a checkpoint folder from weights that others wrote: transformers, or plain PyTorch around BigBirdModel."""
    from pipeline.checkpoints.importing import ImportSource, convert  # imports torch
    from pipeline.checkpoints.recognition import Named

    names = tuple(labels.split(",")) if labels else None
    named = Named(encoder, dense, linear, tuple(attention.split(",")) if attention else ())
    import_source = ImportSource(
        weights=source,
        config=config,
        tokenizer=tokenizer,
        pooling=pooling,
        problem_type=problem_type,
        labels=names,
        named=named,
    )
    refuse_adapter(import_source.weights)
    files = import_source.tokenizer_files()
    beside = next(iter(files.values())).parent
    vocabulary = Tokenizer.load(files.get(SPIECE), files.get(TOKENIZER_JSON), declared(beside))
    vocabulary.check_fits(read_encoder(import_source.config_file()).vocab_size, beside)
    recognised, folder = convert(import_source, target)
    head = folder.head
    _console.print(f"recognised  {_layers(recognised)}", soft_wrap=True, markup=False)
    if recognised.left_out:
        _console.print(f"left out    {', '.join(recognised.left_out)}", soft_wrap=True, markup=False)
    imported = f"{head.task}: pooling {head.pooling}, head {head.head}, {head.problem_type}"
    _console.print(f"imported    {imported}", soft_wrap=True)
    if head.labels:
        _console.print(f"labels      {', '.join(head.labels)}", soft_wrap=True, markup=False)
    _console.print(f"written     {target}", soft_wrap=True, markup=False)


def _layers(recognised: "Recognised") -> str:
    encoder = f"BigBirdModel as {recognised.encoder!r}"
    layers = [f"{theirs} as {ours}" for theirs, ours in recognised.layers.items()]
    return ", ".join([encoder, *layers])
