from . import limit  # noqa: F401
