"""The rows of docs/requirements.md, as a running host shows them."""
