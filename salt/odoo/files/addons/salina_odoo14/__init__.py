import sys
import types

import werkzeug

from odoo.tools._vendor import sessions

# werkzeug 1 has no contrib any more. Debian's Odoo carries this part of it; session_db doesn't.
werkzeug.contrib = types.ModuleType("werkzeug.contrib")
werkzeug.contrib.sessions = sessions
sys.modules["werkzeug.contrib"] = werkzeug.contrib
sys.modules["werkzeug.contrib.sessions"] = sessions

from . import controllers  # noqa: E402
