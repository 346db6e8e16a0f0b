"""A process that accepts one quote, for tests that end it on the way: `URL PROJECT ACCOUNT QUOTE`."""

from __future__ import annotations

import sys

from jobs.caller import Caller
from jobs.services import Services
from jobs.swap import balance as swap_balance
from jobs.swap.books import Wish
from ledger.db import Database
from tests.flows.engine import MAC
from wallets.fake import FakeAddressBook


def main(url: str, project_id: str, account_id: str, quote_id: str) -> None:
    database = Database(url)
    services = Services(database, "test", lambda _: FakeAddressBook(), MAC)
    caller, wish = Caller(int(project_id), None, "shop", "shop"), Wish(int(account_id), "from another process")
    database.run(lambda tx: swap_balance.make(tx, caller, quote_id, wish, services), "test_accept")


if __name__ == "__main__":
    main(*sys.argv[1:])
