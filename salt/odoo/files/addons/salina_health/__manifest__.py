{
    "name": "Salina health",
    "summary": "GET /web/health for versions of Odoo that don't have it (before 15)",
    "version": "1.0",
    "license": "Other OSI approved licence",
    "depends": ["web"],
    "installable": True,
}
