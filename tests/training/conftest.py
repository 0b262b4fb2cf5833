import torch

# Small tensors: with more threads than free cores these tests take ten times as long.
torch.set_num_threads(1)
