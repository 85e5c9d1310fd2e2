# For `odoo-bin shell`: makes the user as whom monitoring logs in, or makes it as it must be. It is
# an internal user without any further group, since Odoo lets only those keep attachments.
import os

group = env.ref("base.group_user")  # noqa: F821
users = env["res.users"].with_context(active_test=False, no_reset_password=True)  # noqa: F821
values = {
    "name": "Salina monitoring",
    "login": os.environ["WATCHED_AS"],
    "password": os.environ["WATCHED_PASSWORD"],
    "active": True,
    # Odoo 19 has another name for this field
    "group_ids" if "group_ids" in users._fields else "groups_id": [(6, 0, [group.id])],
}
found = users.search([("login", "=", values["login"])])
if found:
    found.write(values)
else:
    users.create(values)
env.cr.commit()  # noqa: F821
