"""Monero's world: an outsider with a wallet-rpc of his own. The chain tells nobody who pays whom; he sees his own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from devstack.monero_wallet import MoneroPayer, MoneroWalletRpc
from devstack.monerod import Monerod


class OutsideMonero:
    def __init__(self, node: Monerod, payer: MoneroPayer, our_wallet: MoneroWalletRpc) -> None:
        self._node = node
        self._payer = payer
        self._our_wallet = our_wallet

    @property
    def height(self) -> int:
        return self._node.height() - 1

    def pay(self, outputs: Mapping[str, int]) -> str:
        """Pays these addresses in one transaction; its txid."""
        return self._payer.pay(outputs)

    def mine(self, blocks: int = 1) -> str:
        """The hash of the last block."""
        return self._payer.mine(blocks)[-1]

    def new_address(self) -> str:
        """Where a customer wants to be paid: a subaddress of a wallet that is not Coffer's."""
        return str(self._payer.wallet_rpc.call("create_address", account_index=0)["address"])

    def received(self, address: str) -> int:
        """What has reached that subaddress in blocks, by the receiver's own wallet."""
        wallet = self._payer.wallet_rpc
        wallet.call("refresh")
        place = wallet.call("get_address_index", address=address)["index"]
        query = {"account_index": place["major"], "subaddr_indices": [place["minor"]]}
        found = wallet.call("get_transfers", **{"in": True}, **query)
        return sum(entry["amount"] for entry in found.get("in", []))

    def transaction(self, txid: str) -> dict[str, Any] | None:
        """As the node has it: `fee_units`, `outputs` (how many), `height` (None: in the pool); None: it has it not."""
        query = {"txs_hashes": [txid], "decode_as_json": True}
        answer = self._node.rpc.post("get_transactions", query)
        found = answer.get("txs", [])
        if not found:
            return None
        told = json.loads(found[0]["as_json"])
        height = None if found[0]["in_pool"] else found[0]["block_height"]
        return {"fee_units": told["rct_signatures"]["txnFee"], "outputs": len(told["vout"]), "height": height}

    def our_coins(self) -> int:
        """What Coffer's wallet-rpc counts, by its own arithmetic."""
        self._our_wallet.call("refresh")
        return int(self._our_wallet.call("get_balance", all_accounts=True)["balance"])
