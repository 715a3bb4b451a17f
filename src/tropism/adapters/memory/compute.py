"""Jobs in this process."""

import asyncio
import threading
import time

from tropism.adapters.jobs import checked, describe_error, function_name, job_failed, job_late
from tropism.ports.compute import Job


class MemoryCompute:
    """``Compute`` in this process: inline, so that tests repeat exactly, or in a thread of its own.

    Inline, a job blocks the event loop, and one that took too long is refused when it ends. In a thread
    it is abandoned then: a thread cannot be killed. Memory limits are not enforced.
    """

    def __init__(self, *, threads: bool = False) -> None:
        self._threads = threads

    async def run(self, job: Job) -> bytes:
        """Return what the job returns."""
        name = function_name(job.function)
        started = time.monotonic()
        try:
            async with asyncio.timeout(job.timeout_seconds):
                result = await _in_thread(job) if self._threads else checked(job.function(job.payload))
        except TimeoutError as error:
            if time.monotonic() - started < job.timeout_seconds:
                raise job_failed(name, describe_error(error)) from error
            raise job_late(name, job.timeout_seconds) from error
        except Exception as error:
            raise job_failed(name, describe_error(error)) from error
        if time.monotonic() - started > job.timeout_seconds:
            raise job_late(name, job.timeout_seconds)
        return result

    async def close(self) -> None:
        """Do nothing: there is nothing to give back."""


async def _in_thread(job: Job) -> bytes:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def settle(result: bytes | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result or b"")

    def work() -> None:
        try:
            outcome: tuple[bytes | None, Exception | None] = (checked(job.function(job.payload)), None)
        except Exception as error:  # noqa: BLE001 (whatever the job raises is its result)
            outcome = (None, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    # A daemon: an abandoned job must not keep the process from ending.
    threading.Thread(target=work, name="tropism-job", daemon=True).start()
    return await done
