"""Bitcoin's world: the node's other wallet."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from devstack.bitcoind import MINER_WALLET, Bitcoind, RpcError
from devstack.demo.figures import BTC


class OutsideBitcoin:
    def __init__(self, node: Bitcoind, our_wallet: str) -> None:
        self._node = node
        self._our_wallet = our_wallet

    @property
    def height(self) -> int:
        return int(self._node.admin("getblockcount"))

    def pay(self, outputs: Mapping[str, int]) -> str:
        """Pays these addresses in one transaction; its txid."""
        return self._node.pay({address: BTC.show(units) for address, units in outputs.items()})

    def mine(self, blocks: int = 1) -> str:
        """The hash of the last block."""
        return self._node.mine(blocks)[-1]

    def new_address(self) -> str:
        """Where a customer wants to be paid: an address of a wallet that is not Coffer's."""
        return str(self._node.admin("getnewaddress", wallet=MINER_WALLET))

    def received(self, address: str) -> int:
        """What has reached that address in blocks."""
        return _units(self._node.admin("getreceivedbyaddress", address, 1, wallet=MINER_WALLET))

    def waiting(self, txid: str) -> dict[str, Any] | None:
        """A transaction in the pool: `fee_units`, `vbytes`; None when it is not there."""
        try:
            entry = self._node.admin("getmempoolentry", txid)
        except RpcError:
            return None
        return {"fee_units": _units(entry["fees"]["base"]), "vbytes": int(entry["vsize"])}

    def outputs(self, txid: str) -> dict[str, int]:
        """Address -> units of a transaction in the pool."""
        shown = self._node.admin("getrawtransaction", txid, 1)
        return {out["scriptPubKey"]["address"]: _units(out["value"]) for out in shown["vout"]}

    def in_last_block(self, txid: str) -> int | None:
        """The fee of a transaction in the newest block; None when it is not in it."""
        block = self._node.admin("getblock", self._node.admin("getbestblockhash"), 2)
        found = [tx for tx in block["tx"] if tx["txid"] == txid]
        return _units(found[0]["fee"]) if found else None

    def our_coins(self) -> int:
        """What the node counts in Coffer's wallet, by its own arithmetic."""
        mine = self._node.admin("getbalances", wallet=self._our_wallet)["mine"]
        return sum(_units(mine[kind]) for kind in ("trusted", "untrusted_pending", "immature"))


def _units(amount: Decimal) -> int:
    units = Decimal(amount) * 10**BTC.decimals
    if units != int(units):
        raise ValueError(f"{amount} BTC is no whole number of satoshi")
    return int(units)
