# ruff: noqa: B018
{
    "name": "Salina: removed files are held",
    "summary": "A removed file can be restored together with an earlier state of the database",
    "author": "Salina",
    "version": "1.0",
    "license": "Other OSI approved licence",
    "depends": ["base"],
    "installable": True,
}
