import sys
import types

import werkzeug
from odoo.tools._vendor import sessions

# werkzeug 1 has no contrib any more. Debian's Odoo carries this part of it; session_db doesn't.
werkzeug.contrib = types.ModuleType("werkzeug.contrib")
werkzeug.contrib.sessions = sessions
sys.modules["werkzeug.contrib"] = werkzeug.contrib
sys.modules["werkzeug.contrib.sessions"] = sessions

# Here rather than in server_wide_modules: Odoo 14 loads those in no particular order.
from odoo.addons import session_db  # noqa: E402, F401

from . import health, signaling  # noqa: E402, F401
