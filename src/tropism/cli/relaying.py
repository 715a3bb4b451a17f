"""Outboxes of other programs, published by this process."""

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tropism.adapters.outbox import open_outgoing
from tropism.cli.console import say
from tropism.ports.platform import Platform
from tropism.runtime.relay import relay
from tropism.runtime.waiting import first_of


async def relay_all(urls: Sequence[str], platform: Platform) -> None:
    """Publish what outboxes hold until cancelled; without any, wait."""
    holder = f"{socket.gethostname()}/{os.getpid()}"
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_outgoing(url)) for url in dict.fromkeys(urls)]
        for each in opened:
            say(f"Outbox {each.name}: published from here, unless another process was first.")
        await first_of(asyncio.Event().wait(), *(relay(each, platform, holder=holder) for each in opened))
