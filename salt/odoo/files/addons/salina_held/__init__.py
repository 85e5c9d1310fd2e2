from . import attachment, holding, storing  # noqa: F401
