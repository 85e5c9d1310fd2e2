"""The operators: their accounts, the record of their sessions, and their commands of Salt."""
