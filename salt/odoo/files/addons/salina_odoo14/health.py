from odoo import http
from odoo.http import request


class Health(http.Controller):
    """The health URL of the balancer's checks: it needs the database and creates no session."""

    @http.route("/web/health", type="http", auth="none", save_session=False)
    def health(self):
        if not request.db:
            return http.Response("no database", status=503)
        return http.Response("pass", headers=[("Cache-Control", "no-store")])
