# ruff: noqa: B018
{
    "name": "Salina: no file of a user is lost",
    "summary": "A removed file can be restored with an earlier database; an upload keeps its file",
    "author": "Salina",
    "version": "1.0",
    "license": "Other OSI approved licence",
    "depends": ["base"],
    "installable": True,
}
