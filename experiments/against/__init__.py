"""The networks and recipes of GFPose, DiffPose and DPoser in PyTorch, for `experiments.benchmark --against` alone.

torch is no dependency of this library: `folder`, `networks`, `pairs` and `recipes` load it, and
`experiments.benchmark.against` imports them where the flag is given. `draws` and `quality` do without.
"""
