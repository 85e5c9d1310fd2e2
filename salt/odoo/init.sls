# Odoo: its Python environment, its configuration, its one-time steps and its service.
include:
  - odoo.fits
  - odoo.python
  - odoo.configuration
  - odoo.once
  - odoo.service
