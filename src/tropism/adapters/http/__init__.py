"""HTTP: CloudEvents in, over an ASGI application, and out, by POST."""
