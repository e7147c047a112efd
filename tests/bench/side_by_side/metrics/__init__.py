"""The metrics, in the order in which a round runs them: importing this registers them all."""

# isort: off
from side_by_side.metrics import (
    start,
    execution,
    output,
    introspection,
    responsiveness,
    comms,
    measuring,
    ending,
)

__all__ = ["comms", "ending", "execution", "introspection", "measuring", "output", "responsiveness", "start"]
