import psycopg2
from odoo.modules.registry import Registry

# Each request begins with this query. Odoo 14 logs a user out when the database goes away during
# it. A repeated query waits in pgbouncer for the new primary.
check_signaling = Registry.check_signaling


def patient(self):
    for _attempt in range(4):
        try:
            return check_signaling(self)
        except psycopg2.OperationalError:
            continue
    return check_signaling(self)


Registry.check_signaling = patient
