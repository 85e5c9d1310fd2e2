# ruff: noqa: B018
{
    "name": "Salina: a request that lost the database begins again",
    "summary": "A new primary costs no request and no session",
    "author": "Salina",
    "version": "1.0",
    "license": "Other OSI approved licence",
    "depends": ["base"],
    "installable": True,
}
