"""The command line; measuring processes import this module again, so it loads nothing heavy by itself."""

from __future__ import annotations

import argparse


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures of Coffer, each beside its limit.")
    parser.add_argument("--quick", action="store_true", help="short rounds: for a look, not for a record")
    parser.add_argument("--db", choices=("sqlite", "mariadb"), help="one database only")
    parts = ("ledger", "trades", "chain", "api", "monero", "ethereum")
    parser.add_argument("--only", choices=parts, action="append", help="some parts only")
    parser.add_argument("--profile", action="store_true", help="statements and time of one request instead")
    options = parser.parse_args()
    from bench import run

    run.main(options)


if __name__ == "__main__":
    main()
