# Odoo: its Python environment, its configuration, what is done once, its service.
include:
  - odoo.python
  - odoo.configuration
  - odoo.once
  - odoo.service
