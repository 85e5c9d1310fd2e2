# For `odoo-bin shell`: sets the URL that Odoo writes into mails. The URL is frozen, because
# otherwise each login of the admin would replace it with the URL of that login. A report becomes a
# PDF by a program that fetches styles and images from Odoo. It asks on this host.
import os

parameters = env["ir.config_parameter"]  # noqa: F821
parameters.set_param("web.base.url", os.environ["URL"])
parameters.set_param("web.base.url.freeze", "True")
parameters.set_param("report.url", os.environ["REPORT_URL"])
env.cr.commit()  # noqa: F821
env.registry.signal_changes()  # noqa: F821  # running processes read them again
