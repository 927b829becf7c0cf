"""Samplers of few steps as ONNX files, for runtimes without JAX such as onnxruntime and browsers."""
