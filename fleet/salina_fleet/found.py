"""Classes that are found by the folder that their files are in: roles, and kinds of application."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import ClassVar, Protocol, TypeVar


class Named(Protocol):
    """A class with a name of its own."""

    name: ClassVar[str]


T = TypeVar("T", bound=Named)


def all_of(base: type[T], package: str, path: Iterable[str]) -> dict[str, T]:
    """Return an instance of the class that each module of a package defines, by its name.

    Args:
        base: the class that each module has exactly one subclass of.
        package: the package's full name.
        path: its `__path__`.

    Raises:
        ImportError: a module has no such class, several, or one whose name is not the module's.
    """
    found = {}
    for module in pkgutil.iter_modules(path):
        full = f"{package}.{module.name}"
        own = [
            value
            for value in vars(importlib.import_module(full)).values()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == full
        ]
        if len(own) != 1 or own[0].name != module.name:
            wanted = f"exactly one {base.__name__}, with name = {module.name!r}"
            names = [one.__name__ for one in own]
            raise ImportError(f"{full} defines {names}; it must define {wanted}")
        found[module.name] = own[0]()
    return found
