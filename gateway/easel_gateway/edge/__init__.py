"""Pure ASGI middleware: what happens to every request before a dialect sees it."""
