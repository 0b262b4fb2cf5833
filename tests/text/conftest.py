"""Each tokenizer is trained once per session."""

from pathlib import Path

import pytest
from sentencepiece import sentencepiece_model_pb2

from tests.text.models import convert, train


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


@pytest.fixture(scope="session")
def spiece(folder: Path) -> Path:
    return train(folder / "spiece.model", "nmt_nfkc")


@pytest.fixture(scope="session")
def identity_spiece(folder: Path) -> Path:
    """Keeps newlines, ligatures and all else as they are."""
    return train(folder / "identity.model", "identity")


@pytest.fixture(scope="session")
def tokenizer_json(folder: Path, spiece: Path) -> Path:
    """Agrees with `spiece`."""
    return convert(spiece, folder / "tokenizer.json")


@pytest.fixture(scope="session")
def other_tokenizer_json(folder: Path, spiece: Path) -> Path:
    """Does not agree with `spiece`."""
    return convert(spiece, folder / "other.json", normalized=False)


@pytest.fixture(scope="session")
def plain_spiece(folder: Path, spiece: Path) -> Path:
    """The vocabulary of `spiece` without its table of characters; blanks at the ends and runs of them still go."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(spiece.read_bytes())
    proto.normalizer_spec.precompiled_charsmap = b""
    (folder / "plain.model").write_bytes(proto.SerializeToString())
    return folder / "plain.model"
