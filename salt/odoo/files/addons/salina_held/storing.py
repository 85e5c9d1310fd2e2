import functools

from odoo.addons.base.models.ir_attachment import IrAttachment


# Odoo stores and marks a file before the row that names it. Its collector locks the table, and
# removes every marked file that no row names: also one that is just being stored, whose upload
# would then succeed without its content (odoo/odoo#224833). This lock waits for the collector, and
# the collector waits for the end of the upload.
def locking(file_write):
    @functools.wraps(file_write)
    def _file_write(self, *args, **kwargs):
        self.env.cr.execute("LOCK ir_attachment IN ROW EXCLUSIVE MODE")
        return file_write(self, *args, **kwargs)

    return _file_write


IrAttachment._file_write = locking(IrAttachment._file_write)
