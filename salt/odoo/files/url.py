# For `odoo-bin shell`: the URL that Odoo writes into mails. Frozen, or each login of the admin
# would set it to the one he came by.
import os

parameters = env["ir.config_parameter"]  # noqa: F821
parameters.set_param("web.base.url", os.environ["URL"])
parameters.set_param("web.base.url.freeze", "True")
env.cr.commit()  # noqa: F821
