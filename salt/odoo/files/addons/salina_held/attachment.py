import contextlib
import logging
import os
import uuid

from odoo import api
from odoo.addons.base.models.ir_attachment import IrAttachment
from odoo.addons.salina_held.storing import locking
from odoo.exceptions import UserError

_logger = logging.getLogger(__name__)


# Up to version 18 Odoo logs an error of the disk and goes on: the upload counts as stored, and its
# content is empty for ever. Here the user gets the error, and the transaction stores nothing.
@api.model
def _file_write(self, bin_value, checksum):
    try:
        # Odoo fails when another host makes this directory at the same moment.
        os.makedirs(self._full_path(checksum[:2]), exist_ok=True)
        fname, full_path = self._get_path(bin_value, checksum)
        if not os.path.exists(full_path):
            store(full_path, bin_value)
            # a marked file is deleted if the transaction fails
            self._mark_for_gc(fname)
    except OSError as error:
        _logger.exception("the file %s of %s bytes could not be stored", checksum, len(bin_value))
        raise UserError(
            f"The file could not be stored ({error.strerror or error}). Nothing was saved. "
            "Try again later; if it fails again, tell your administrator."
        ) from error
    return fname


def store(path, content):
    # The volume reports some errors only when the content must be on its disks, hence fsync. A
    # file gets its name when it is whole: other hosts take any file with this name for a whole one.
    unfinished = f"{path}.{uuid.uuid4().hex}"
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


IrAttachment._file_write = locking(_file_write)
