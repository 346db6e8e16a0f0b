"""Notes that the adapter leaves in the wallet file itself, as attributes: they live and die with that file.

A wallet restored from its seed has none of them, and so tells itself apart from the file that prepared a transaction:
`relay_tx` marks outputs as spent by their place in the file that made its metadata, and would mark others there.
"""

from __future__ import annotations

import json
import secrets

from ledger.errors import NodeProtocolError
from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.reply import Record

_FILE, _ACCOUNTS, _OWNER = "coffer.file", "coffer.accounts", "coffer.installation"
_NO_ATTRIBUTE = -45


class Marks:
    """Attributes of the open wallet file. They are on its disk only after the next `store`."""

    def __init__(self, client: MoneroClient) -> None:
        self._client = client

    def file(self) -> str | None:
        """The name that this file was given; None if it has none."""
        return self._attribute(_FILE)

    def name_file(self) -> str:
        """The name of this file, given to it now if it has none."""
        name = self.file()
        if name is None:
            name = secrets.token_hex(8)
            self._client.change("set_attribute", key=_FILE, value=name)
        return name

    def rename_file(self) -> None:
        """A file that was put back from a backup is not the one that prepared transactions since: it may hold its
        outputs in other places."""
        self._client.change("set_attribute", key=_FILE, value=secrets.token_hex(8))

    def claim(self, owner: str) -> None:
        """Write which installation this wallet belongs to, and have it on the disk."""
        self._client.change("set_attribute", key=_OWNER, value=owner)
        self._client.change("store")

    def owner(self) -> str | None:
        return self._attribute(_OWNER)

    def accounts(self) -> list[int]:
        """The accounts, other than the first, whose outputs may be frozen by us."""
        text = self._attribute(_ACCOUNTS)
        if not text:
            return []
        try:
            accounts = json.loads(text)
        except ValueError:
            accounts = None
        if not isinstance(accounts, list) or not all(type(account) is int for account in accounts):
            raise NodeProtocolError("the wallet's note of accounts with held outputs cannot be read")
        return accounts

    def note_accounts(self, accounts: set[int]) -> None:
        if accounts != set(self.accounts()):
            self._client.change("set_attribute", key=_ACCOUNTS, value=json.dumps(sorted(accounts)))

    def _attribute(self, key: str) -> str | None:
        try:
            answer = self._client.read("get_attribute", key=key)
        except RpcRefused as refusal:
            if refusal.rpc_code != _NO_ATTRIBUTE:
                raise
            return None
        return Record(answer, "get_attribute").text("value")
