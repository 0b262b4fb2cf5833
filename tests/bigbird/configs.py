"""A small encoder configuration, in which a test changes what it is about."""

from dataclasses import replace
from typing import Any

from pipeline.bigbird.model_config import EncoderConfig, HeadConfig

HEAD = HeadConfig("cls", "bigbird", "single_label", ("rook", "jackdaw", "crow"))


def encoder_config(**changes: Any) -> EncoderConfig:
    config = EncoderConfig(
        vocab_size=500,
        hidden_size=64,
        layers=2,
        heads=2,
        intermediate_size=96,
        max_positions=4096,
        type_vocab_size=2,
        block_size=64,
        random_blocks=3,
        attention_type="block_sparse",
        activation="gelu_tanh",
        norm_eps=1e-12,
        use_bias=True,
        rescale_embeddings=False,
    )
    return replace(config, **changes)
