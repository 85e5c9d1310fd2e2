# For `odoo-bin shell`: sets the password of the user admin, and creates the table of the
# sessions, because many processes would otherwise create it at the same moment.
import os

import odoo

odoo.http.root.session_store  # noqa: B018
env.ref("base.user_admin").password = os.environ["LOGIN_PASSWORD"]  # noqa: F821
env.cr.commit()  # noqa: F821
