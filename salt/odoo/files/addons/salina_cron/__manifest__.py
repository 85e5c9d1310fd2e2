# ruff: noqa: B018
{
    "name": "Salina: scheduled jobs have a time limit of their own",
    "summary": "The processor time of a scheduled job is not limited as that of a request is",
    "author": "Salina",
    "version": "1.0",
    "license": "Other OSI approved licence",
    "depends": ["base"],
    "installable": True,
}
