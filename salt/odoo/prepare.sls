include:
  - odoo.python
