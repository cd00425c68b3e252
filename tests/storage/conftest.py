"""What the tests of storages can ask for."""

from .redis_steps import admin, namespace, open_, own_server

__all__ = ["admin", "namespace", "open_", "own_server"]
