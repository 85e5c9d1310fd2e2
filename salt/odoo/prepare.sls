include:
  - odoo.fits
  - odoo.python
