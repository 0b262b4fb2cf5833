"""The quick start's sample: 500 design proposals of five communities, and a small checkpoint that tells them apart."""

from pathlib import Path

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"
CHECKPOINT = FOLDER / "checkpoint"
