"""PCRE2, with which nginx and HAProxy compile regular expressions: Debian has it on every host."""

from __future__ import annotations

import ctypes
from functools import cache

LIBRARY = "libpcre2-8.so.0"


@cache
def _library() -> ctypes.CDLL:
    found = ctypes.CDLL(LIBRARY)
    found.pcre2_compile_8.restype = ctypes.c_void_p
    found.pcre2_code_free_8.argtypes = [ctypes.c_void_p]
    return found


def compiles(pattern: str) -> bool:
    """Tell whether PCRE2 compiles a pattern."""
    error, place = ctypes.c_int(), ctypes.c_size_t()
    text = pattern.encode()
    code = _library().pcre2_compile_8(
        text, ctypes.c_size_t(len(text)), 0, ctypes.byref(error), ctypes.byref(place), None
    )
    if code:
        _library().pcre2_code_free_8(code)
    return bool(code)
