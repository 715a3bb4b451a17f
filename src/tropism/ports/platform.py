"""The ports of one deployment, by value."""

from dataclasses import dataclass

from tropism.ports.blobs import Blobs
from tropism.ports.clock import Clock
from tropism.ports.compute import Compute
from tropism.ports.log import Log
from tropism.ports.queue import Queue
from tropism.ports.state import State


@dataclass(frozen=True, slots=True)
class Platform:
    """Everything outside that an app may use."""

    log: Log
    state: State
    blobs: Blobs
    compute: Compute
    clock: Clock
    queue: Queue
