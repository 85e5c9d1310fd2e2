# Odoo: its configuration, its one-time steps and its service.
include:
  - odoo.fits
  - application.release # may take minutes, as the third one may, so the host takes its turn later
  - odoo.configuration
  - application.stored
{%- if pillar.app.held %}
  - odoo.held
{%- endif %}
  - odoo.addons
  - odoo.once
  - odoo.service
