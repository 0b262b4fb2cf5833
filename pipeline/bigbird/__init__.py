"""BigBird: a checkpoint folder, who attends to whom, the encoder and its heads.

`config` and `folder` never import torch, so that a planner can read a checkpoint without it. The rule and the kernels:
docs/encoder.md.

A tensor's name ends with its shape, a letter for each axis; these letters mean the same in every file here and in
pipeline/inference:

    T  rows of the pack, padding to whole blocks included     N  real tokens, without padding
    W  windows                                                R  rows of any kind: T, N or W
    B  blocks of the pack                                     b  rows of one block
    D  hidden size, H * E                                     F  intermediate size
    H  heads                                                  E  head size
    G  attention problems of one shape                        A  tiles of queries
    Q  query blocks of a problem                              q  query rows of a problem or of a tile
    K  key blocks of a problem                                S  keys of a problem, K * b
    k  keys of one step of a kernel                           L  outputs of the head
    I  inputs of a product                                    O  outputs of a product
    V  words of the vocabulary                                P  positions
    X  an axis of any length                                  Y  several axes laid together
    1, 3  axes of that length
"""
