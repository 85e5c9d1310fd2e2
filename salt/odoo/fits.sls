# The first state after the one that loads the Python. If the settings do not fit the host, the run ends
# here (`failhard`), before it changes anything.
odoo-fits:
  odoo.fits:
    - order: 2
    - failhard: True
