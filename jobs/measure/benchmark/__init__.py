"""`rookery benchmark`: how fast the encoder is here, beside transformers and beside what this machine allows.

command      its options and its course        documents    what is computed
timing       interleaved medians               contenders   who computes it: Rookery, transformers
machine      what the machine allows           stages       each part of the encoder beside that
agreement    labels beside those of fp32       report       the tables

It needs torch, numpy, safetensors, sentencepiece and transformers, and pyarrow to read a corpus; neither Ray nor
pydantic.
"""
