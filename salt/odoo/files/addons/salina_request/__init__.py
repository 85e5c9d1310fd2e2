from . import logs  # noqa: F401
