import os
import time

from odoo.addons.base.models import ir_attachment

# The functions that remove files from the file store: the first one in Odoo 14.
COLLECTORS = ("_gc_file_store", "_gc_file_store_unsafe")


class Holding:
    """The module os, but a file of the file store is renamed into the directory `held`.

    An error of the rename reaches Odoo as one of os.unlink would, and the file stays.
    """

    def __init__(self, held):
        self.held = held

    def __getattr__(self, name):
        return getattr(os, name)

    def unlink(self, path):
        # /var/lib/odoo/filestore is a link to the volume.
        data = os.path.realpath(os.path.dirname(self.held))
        folder, name = os.path.split(path)
        place = os.path.relpath(os.path.join(os.path.realpath(folder), name), data)
        parts = place.split(os.sep)
        # Odoo's marks of files to remove are in filestore/DATABASE/checklist.
        if parts[0] != "filestore" or parts[2:3] == ["checklist"]:
            os.unlink(path)
            return
        os.lstat(path)  # fails before a directory is made for a missing file
        target = os.path.join(self.held, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), place)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(path, target)

    remove = unlink


def hold(held):
    names = set()
    for collector in COLLECTORS:
        function = getattr(ir_attachment.IrAttachment, collector, None)
        names.update(function.__code__.co_names if function else ())
    if not {"os", "unlink"} <= names:
        raise ImportError("this version of Odoo does not remove files with os.unlink")
    ir_attachment.os = Holding(held)


if os.environ.get("SALINA_HELD"):
    hold(os.environ["SALINA_HELD"])
