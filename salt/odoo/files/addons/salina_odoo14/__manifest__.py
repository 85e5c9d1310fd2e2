# ruff: noqa: B018
{
    "name": "Salina: what Odoo 14 lacks",
    "summary": "GET /web/health, and werkzeug's sessions where session_db looks for them",
    "version": "1.0",
    "license": "Other OSI approved licence",
    "depends": ["web"],
    "installable": True,
}
