from . import retry, server  # noqa: F401
