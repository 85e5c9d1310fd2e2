# Odoo: its configuration, its one-time steps and its service.
include:
  - odoo.fits
  - application.release # this and application.stored may take minutes, so they come before the turn
  - odoo.configuration
  - application.stored
  - odoo.held
  - odoo.cron
  - odoo.request
  - odoo.addons
  - odoo.once
  - odoo.watched
  - odoo.service
