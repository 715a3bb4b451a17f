"""Blobs and computes that break exactly one law: each shows that its check can fail."""

import asyncio
from dataclasses import replace

from tropism.core.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from tropism.testing import blobs, compute


def strips_bytes(it):
    put = it.put
    return {"put": lambda name, data: put(name, data[:1000])}


def gets_nothing_for_absent(it):
    async def get(name):
        return it._blobs.get(name, b"")

    return {"get": get}


def is_a_plain_folder(it):
    put = it.put

    async def only_files(name, data):
        if any(name.startswith(f"{other}/") for other in it._blobs):
            raise UnavailableError("Cannot put: not a directory. Choose another name.")
        await put(name, data)

    return {"put": only_files}


def puts_once(it):
    put = it.put

    async def once(name, data):
        if name in it._blobs:
            raise ConflictError("Cannot put: it exists. Choose another name.")
        await put(name, data)

    return {"put": once}


def overwrites(it):
    async def put(name, data):
        it._blobs[name] = data

    return {"put": put}


def races(it):
    put = it.put

    async def racing(name, data):
        known = it._blobs.get(name)
        await asyncio.sleep(0)
        if known is None:
            it._blobs[name] = data
        else:
            await put(name, data)

    return {"put": racing}


def lists_in_order_of_putting(it):
    async def names(prefix=""):
        return [name for name in it._blobs if name.startswith(prefix)]

    return {"names": names}


def deletes_below(it):
    async def delete(names):
        for name in names:
            for known in list(it._blobs):
                if known == name or known.startswith(f"{name}/"):
                    del it._blobs[known]

    return {"delete": delete}


def takes_any_name(it):
    async def get(name):
        if name not in it._blobs:
            raise NotFoundError("Cannot get: there is none. Put it first.")
        return it._blobs[name]

    return {"get": get}


def takes_any_content(it):
    async def put(name, data):
        it._blobs.setdefault(name, data)

    return {"put": put}


def names_another_place(it):
    class Elsewhere(type(it)):
        url = "file:/dev/null/elsewhere"

    it.__class__ = Elsewhere
    return {}


BLOB_SABOTEURS = {
    blobs.check_bytes_return_as_they_were: strips_bytes,
    blobs.check_absent_names_are_not_found: gets_nothing_for_absent,
    blobs.check_names_may_lie_below_names: is_a_plain_folder,
    blobs.check_putting_again_changes_nothing: puts_once,
    blobs.check_other_bytes_are_refused: overwrites,
    blobs.check_one_of_many_writers_wins: races,
    blobs.check_names_are_listed_in_order: lists_in_order_of_putting,
    blobs.check_deleted_names_are_gone: deletes_below,
    blobs.check_bad_names_are_refused: takes_any_name,
    blobs.check_content_is_what_its_name_says: takes_any_content,
    blobs.check_its_url_opens_the_same: names_another_place,
}


def _runs(run):
    """Return a saboteur of ``run``: ``run(job, original)``."""

    def break_it(it):
        original = it.run
        return {"run": lambda job: run(job, original)}

    return break_it


async def _forgets_payload(job, original):
    return await original(replace(job, payload=job.payload[:1]))


async def _raises_what_it_raised(job, original):
    return job.function(job.payload)


async def _takes_none(job, original):
    return job.function(job.payload) or b""


async def _runs_anything(job, original):
    try:
        return job.function(job.payload)
    except Exception as error:
        raise InvalidInputError(f"Cannot run: {type(error).__name__}: {error}. Mend it.") from error


async def _has_no_limit(job, original):
    return await original(replace(job, timeout_seconds=600.0))


async def _answers_for_the_dead(job, original):
    return b"" if job.function is compute.die else await original(job)


async def _takes_leaving_for_a_result(job, original):
    return b"" if job.function is compute.leave else await original(job)


async def _limits_everything(job, original):
    if job.memory_bytes_max:
        raise UnavailableError("Cannot run: too little memory. Give more.")
    return await original(job)


COMPUTE_SABOTEURS = {
    compute.check_results_return: _runs(_forgets_payload),
    compute.check_errors_travel_as_text: _runs(_raises_what_it_raised),
    compute.check_only_bytes_are_results: _runs(_takes_none),
    compute.check_only_importable_functions_run: _runs(_runs_anything),
    compute.check_late_jobs_raise: _runs(_has_no_limit),
    compute.check_dead_jobs_raise: _runs(_answers_for_the_dead),
    compute.check_leaving_jobs_raise: _runs(_takes_leaving_for_a_result),
    compute.check_jobs_have_their_own_process: lambda _: {},  # jobs in this process
    compute.check_memory_is_limited: _runs(_limits_everything),
}
