"""An outbox in the user's own database: events that commit, or roll back, with the user's transaction."""

from tropism.adapters.outbox.opening import open_outgoing
from tropism.adapters.outbox.publishing import (
    create_outbox,
    create_outbox_async,
    publish_in,
    publish_in_async,
)

__all__ = ["create_outbox", "create_outbox_async", "open_outgoing", "publish_in", "publish_in_async"]
