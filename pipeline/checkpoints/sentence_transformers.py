"""What a folder of the sentence-transformers library says of an embedding: its pooling.

Such a folder lists its modules in modules.json: a Transformer, which is the folder itself, a Pooling, and perhaps
Normalize, which every embedding of ours is. The last hidden states alone don't say which of them the pooling takes.
"""

from collections.abc import Iterator
from pathlib import Path

from pipeline.checkpoints.json_file import JsonFile
from pipeline.errors import CheckpointError
from pipeline.terms import PoolingKind

MODULES, SETTINGS, PROMPTS = "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"
KNOWN = ("Transformer", "Pooling", "Normalize")
POOLING_OF_MODE: dict[str, PoolingKind] = {
    "cls": "cls",
    "cls_token": "cls",
    "mean": "mean",
    "mean_tokens": "mean",
    "max": "max",
    "max_tokens": "max",
}
FLAG = "pooling_mode_"  # before a mode, in older files


def pooling(folder: Path) -> PoolingKind | None:
    """The pooling that the folder's modules.json leads to; None where there is no such file.

    Raises:
        CheckpointError: a module or a setting that an embedding of ours has no part for.
    """
    if not (folder / MODULES).is_file():
        return None
    modules = JsonFile.read_list(folder / MODULES)
    for module in modules:
        if _kind(module) not in KNOWN:
            raise module.wrong("type", f"one of {', '.join(KNOWN)}: others cannot be run")
    _refuse(folder / SETTINGS, "do_lower_case", "texts are tokenized as they are")
    _refuse(folder / PROMPTS, "default_prompt_name", "nothing is put before a text")
    modes = {
        mode for module in modules if _kind(module) == "Pooling" for mode in _modes(folder / str(module.get("path")))
    }
    if len(modes) != 1 or not modes <= set(POOLING_OF_MODE):
        raise CheckpointError(
            f"{folder / MODULES}: the pooling is {' and '.join(sorted(modes)) or 'none'}; expected one of cls, mean "
            "and max"
        )
    return POOLING_OF_MODE[modes.pop()]


def _kind(module: JsonFile) -> str:
    return str(module.get("type")).rpartition(".")[2]


def _modes(folder: Path) -> Iterator[str]:
    config = JsonFile.read(folder / "config.json")
    if isinstance(mode := config.get("pooling_mode"), str):
        yield mode
    for key, value in config.values.items():
        if key.startswith(FLAG) and value is True:
            yield key.removeprefix(FLAG)


def _refuse(path: Path, key: str, why: str) -> None:
    if path.is_file() and (file := JsonFile.read(path)).get(key):
        raise file.wrong(key, f"none, because {why}: remove it if the model was trained without")
