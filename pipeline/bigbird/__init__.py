"""BigBird: a checkpoint folder, who attends to whom, the encoder and its heads.

`config` and `folder` never import torch, so that a planner can read a checkpoint without it.
"""
