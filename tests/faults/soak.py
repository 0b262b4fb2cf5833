"""The fault tests for as long as one likes: every fault in turn, with new dice each round, until the time is up.

    deploy/soak.sh [minutes] [corpus]        an hour, and the tests' own small corpus, by default
    deploy/soak.sh --seed 123 --fault "driver killed" [corpus]     the round that went wrong, again

The first difference stops it, with the seed and what is needed to look at it.
"""

import random
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from tests.faults.faults import ALL
from tests.faults.world import SMALL, World, write_corpus
from tests.s3 import s3_server

console = Console(highlight=False)


def soak(
    minutes: Annotated[float, typer.Argument(help="How long to go on.")] = 60,
    corpus: Annotated[
        Path | None,
        typer.Argument(help="A folder half=1/, half=2/ of Parquet and JSON Lines with id and text."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Only this round.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(ALL)}.")] = None,
    text_bytes: Annotated[int, typer.Option(help="The size of a unit.")] = 15_000,
) -> None:
    """Lets faults happen to runs and compares what is published with an undisturbed run's."""
    names = fault or list(ALL)
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    with (
        tempfile.TemporaryDirectory(prefix="rookery-soak-") as folder,
        s3_server(Path(folder) / "s3") as server,
    ):
        path = corpus.resolve() if corpus else write_corpus(Path(folder) / "corpus")
        settings = (*SMALL, f"units.text_bytes={text_bytes}")
        world = World(Path(folder), lambda: server, path, settings)
        console.print(f"S3      {server.description}\ncorpus  {path}, {len(world.ids):,} documents")
        began = time.monotonic()
        console.print(f"undisturbed: {len(world.expected)} objects in {_since(began)}")
        began, round_ = time.monotonic(), 0
        while time.monotonic() - began < minutes * 60 and not (seed is not None and round_ > 0):
            name = names[round_ % len(names)]
            number = random.SystemRandom().getrandbits(32) if seed is None else seed
            round_ += 1
            outcomes[name][_round(world, round_, name, number)] += 1
        _summarize(outcomes, _since(began))


def _round(world: World, round_: int, name: str, seed: int) -> str:
    began = time.monotonic()
    if name == "server restarted" and world.server().kind == "moto":
        return "left out: moto forgets all"
    try:
        outcome = ALL[name](world, random.Random(seed))
    except OSError as error:
        if "mount" not in str(error):
            raise
        outcome = "left out: no mount here"
    except BaseException:
        console.print(f"[red]round {round_}: {name}: a difference. Again: --seed {seed} --fault '{name}'")
        raise
    finally:
        for run in world.runs:
            run.clean_up()
        world.runs.clear()
    line = f"{round_:4}  {name:28} {outcome:20} {_since(began):>7}  seed {seed}"
    console.print(line, soft_wrap=True)
    return outcome


def _since(began: float) -> str:
    return f"{time.monotonic() - began:,.0f} s"


def _summarize(outcomes: dict[str, Counter[str]], took: str) -> None:
    grid = Grid("fault", "rounds", "outcomes", title=f"{took}: every table was whole, and as undisturbed")
    for name, counts in outcomes.items():
        told = ", ".join(f"{outcome} {count}×" for outcome, count in counts.most_common())
        grid.add_row(name, str(counts.total()), told)
    console.print(grid)


if __name__ == "__main__":
    typer.run(soak)
