# ruff: noqa: B018
{
    "name": "Salina: additions to Odoo 14",
    "summary": "GET /web/health, sessions in the database, no logout",
    "author": "Salina",
    "version": "1.0",
    "license": "Other OSI approved licence",
    "depends": ["web"],
    "installable": True,
}
