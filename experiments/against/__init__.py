"""The networks and recipes of GFPose, DiffPose and DPoser in PyTorch, for `experiments.benchmark --against` alone.

These modules load torch, which is no dependency of this library; `experiments.benchmark.against` imports them where
the flag is given.
"""
