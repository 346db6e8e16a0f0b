"""The private development stack: real Redis, MariaDB and nodes on 127.0.0.1, for `make demo`, `make up` and the tests.

`programs` and `setup` use the standard library only: they run before anything is installed.
Nothing here is part of the product; nothing in the product imports it, except the CLI commands that start it.
"""
