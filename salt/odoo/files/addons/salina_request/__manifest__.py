# ruff: noqa: B018
{
    "name": "Salina: a line of the log has the id of its request",
    "summary": "The id comes from the balancer, in the header X-Request-ID",
    "author": "Salina",
    "version": "1.0",
    "license": "Other OSI approved licence",
    "depends": ["base"],
    "installable": True,
}
