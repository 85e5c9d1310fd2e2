from . import holding, storing  # noqa: F401
