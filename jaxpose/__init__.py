"""jaxpose: probabilistic 3D human pose in functional JAX."""
