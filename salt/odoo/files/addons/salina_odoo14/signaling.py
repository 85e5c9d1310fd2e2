import psycopg2
from odoo.addons.salina_retry import retry
from odoo.modules.registry import Registry

# Each request begins with this query. Odoo 14 logs a user out when the database goes away during
# it. A repeated query waits in pgbouncer for the new primary. Before a repeat, a request also waits
# while pgbouncer refuses, which it does for a moment when the old primary has refused a login.
check_signaling = Registry.check_signaling


def patient(self):
    request = retry.record()
    with retry.recovering():
        for _attempt in range(4):
            try:
                return check_signaling(self)
            except psycopg2.OperationalError:
                if request and not retry.primary(request.deadline):
                    raise
        return check_signaling(self)


Registry.check_signaling = patient
