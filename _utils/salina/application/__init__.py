"""The kinds of application that run on app hosts."""
