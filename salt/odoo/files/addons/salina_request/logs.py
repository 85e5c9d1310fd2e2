import functools
import logging
import re
import threading

import odoo
from werkzeug.serving import WSGIRequestHandler

# The balancer makes the id. nginx passes it on as it came, so a process of this host could send
# anything.
ID = re.compile(r"[0-9a-f-]{36}")
current = threading.local()  # in the process for long polling, of a greenlet


def identified(handle, given):
    """Return a method that handles a request, with the id of the request around it."""

    @functools.wraps(handle)
    def wrapper(self, *args, **kwargs):
        found = given(self) or ""
        current.id = found if ID.fullmatch(found) else None
        try:
            return handle(self, *args, **kwargs)
        finally:
            current.id = None

    return wrapper


def naming(factory):
    """Return a factory of records that have the id as `request`."""

    @functools.wraps(factory, updated=())
    def record(*args, **kwargs):
        made = factory(*args, **kwargs)
        found = getattr(current, "id", None)
        made.request = f"[{found}] " if found else ""
        return made

    return record


def shown(handlers):
    """Have handlers write the id before the message; a line of no request stays as it is."""
    for handler in handlers:
        style = getattr(handler.formatter, "_style", None)
        if style and "%(request)s" not in style._fmt:
            style._fmt = style._fmt.replace("%(message)s", "%(request)s%(message)s", 1)


# Odoo's server logs the answer inside this method, after Odoo itself has forgotten the request.
WSGIRequestHandler.run_wsgi = identified(
    WSGIRequestHandler.run_wsgi, lambda handler: handler.headers.get("X-Request-ID")
)
if getattr(odoo, "evented", False):
    from gevent.pywsgi import WSGIHandler

    WSGIHandler.handle_one_response = identified(
        WSGIHandler.handle_one_response, lambda handler: handler.environ.get("HTTP_X_REQUEST_ID")
    )
logging.setLogRecordFactory(naming(logging.getLogRecordFactory()))
shown(logging.getLogger().handlers)
