import sys
import types

import werkzeug
from odoo.tools._vendor import sessions

# werkzeug 1 no longer has contrib, which session_db needs. Debian's Odoo contains this part of it.
werkzeug.contrib = types.ModuleType("werkzeug.contrib")
werkzeug.contrib.sessions = sessions
sys.modules["werkzeug.contrib"] = werkzeug.contrib
sys.modules["werkzeug.contrib.sessions"] = sessions

# Imported here, because Odoo 14 loads server_wide_modules in no particular order.
from odoo.addons import session_db  # noqa: E402, F401

from . import health, signaling  # noqa: E402, F401
