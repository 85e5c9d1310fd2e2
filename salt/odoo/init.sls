# Odoo: its Python environment, its configuration, its one-time steps and its service.
include:
  - odoo.fits
  - odoo.configuration
{%- if pillar.app.held %}
  - odoo.held
{%- endif %}
  - odoo.python
  - odoo.addons
  - odoo.once
  - odoo.service

# A host that gets no turn for its settings does not change its code either.
extend:
  application-production:
    checkout:
      - require:
          - application: odoo-reconfigured
