"""Counting what XLA compiles, for tests that a second call compiles nothing."""

import contextlib
from types import SimpleNamespace

from jax import monitoring

_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def counted():
    """Within the block, `count` of what it yields is the number of programs compiled so far."""
    found = SimpleNamespace(count=0)

    def listen(event: str, duration: float, **_: object) -> None:
        found.count += event == _COMPILED

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        monitoring.unregister_event_duration_listener(listen)
