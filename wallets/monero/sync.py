"""Making sure that what the wallet says is of now.

monero-wallet-rpc answers from what it last read of the chain. Without a node, with a node that lost blocks, or on its
way through a long chain, it says so nowhere: the old balance comes back as if it were today's (NODES 3.1, 3.4).
"""

from __future__ import annotations

from ledger.errors import NodeNotReady
from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.daemon import Daemon
from wallets.monero.reply import Record
from wallets.protocol import Tip

#: More blocks than this are not read within one call: wallet-rpc reads them by itself, in steps, and answers between.
BEHIND_MAX = 200
#: How often it looks for them.
AUTO_REFRESH_SECONDS = 5
#: In the wallet file: the name under which this installation knows it.
NAME_ATTRIBUTE = "coffer.wallet"
_NO_ATTRIBUTE = -45
_ATTEMPTS = 10


class Sync:
    """The gate before every answer of the wallet that depends on the chain."""

    def __init__(self, client: MoneroClient, daemon: Daemon) -> None:
        self._client = client
        self._daemon = daemon

    def caught_up(self) -> Tip:
        """Have the wallet read the chain and the pool up to now; the tip that it then stands on.

        Raises `NodeNotReady` when it cannot be had: the wallet is far behind, another wallet is open, wallet-rpc cannot
        reach monerod, or the chain is shorter than what the wallet has read.
        """
        self.check_wallet()
        for _ in range(_ATTEMPTS):
            tip = self._daemon.tip()
            behind = tip.height + 1 - self.wallet_height()
            if behind > BEHIND_MAX:
                self._client.read("auto_refresh", enable=True, period=AUTO_REFRESH_SECONDS)
                raise NodeNotReady(f"the wallet has {behind} blocks to read", reason="syncing")
            self._refresh()
            if self.wallet_height() == tip.height + 1 and self._daemon.tip() == tip:
                return tip
        ahead = self.wallet_height() - (tip.height + 1)
        if ahead > 0:
            raise NodeNotReady(f"the node's chain is {ahead} blocks shorter than the wallet has read", reason="syncing")
        raise NodeNotReady("the wallet does not keep up with the chain", reason="syncing")

    def _refresh(self) -> None:
        """Twice where the first fails: only so does wallet-rpc notice that its line to a restarted monerod is dead."""
        try:
            self._client.read("refresh")
        except NodeNotReady as error:
            if error.context.get("reason") != "unreachable":
                raise
            self._client.read("refresh")

    def wallet_height(self) -> int:
        """How many blocks the wallet has read."""
        return Record(self._client.read("get_height"), "get_height").units("height")

    def check_wallet(self) -> None:
        """Raises `NodeNotReady` unless the wallet that wallet-rpc has open is ours."""
        if self.open_name() != self._client.wallet:
            raise NodeNotReady(
                f"monero-wallet-rpc has another wallet open than {self._client.wallet!r}; it must serve this "
                "installation alone",
                reason="no_wallet",
            )

    def open_name(self) -> str | None:
        """The name that the open wallet was given by `WalletKeys.open`; None for one that has none."""
        try:
            answer = self._client.read("get_attribute", key=NAME_ATTRIBUTE)
        except RpcRefused as refusal:
            if refusal.rpc_code != _NO_ATTRIBUTE:
                raise
            return None
        return Record(answer, "get_attribute").text("value")
