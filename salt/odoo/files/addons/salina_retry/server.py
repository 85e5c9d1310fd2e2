import functools
import logging
import os

import psycopg2
from odoo.service.server import PreforkServer

_logger = logging.getLogger(__name__)


# Since version 19 Odoo's server asks the database before it begins a process, and ends itself with
# all its processes when the database is away. The process that is missing can wait for it.
def patient(process_spawn):
    @functools.wraps(process_spawn)
    def wrapper(self):
        own = os.getpid()
        try:
            process_spawn(self)
        except psycopg2.Error as error:
            if os.getpid() != own:  # the new process itself
                raise
            _logger.warning("no new process without the database: %s", str(error).strip())

    return wrapper


PreforkServer.process_spawn = patient(PreforkServer.process_spawn)
