"""Whether a payment's rows are what was committed through the API: MACs, approvals, payees, purposes, assets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.row_mac import RowMac
from jobs.signer.request import SignerRefused, SignRequest
from ledger.founding import NATIVE_ASSETS

#: What each chain's network is paid in, so that no row can have a fee counted against another cap.
_COINS = {coin.chain: coin.code for coin in NATIVE_ASSETS}


class Rules:
    """`cold` is chain -> the only address that moves to cold may pay."""

    def __init__(self, mac: RowMac, cold: Mapping[str, str]) -> None:
        self._mac = mac
        self._cold = dict(cold)

    def check(self, request: SignRequest) -> None:
        """Raises `SignerRefused` unless the rows may be paid at all, whatever the wallet comes to choose."""
        if request.purpose == "withdrawal":
            self._check_withdrawals(request)
        elif request.withdrawals or request.items:
            raise SignerRefused("item_mismatch", f"a payment for {request.purpose} pays no withdrawal")
        elif request.purpose == "cold":
            self._check_cold(request)
        elif request.purpose == "call":
            self._check_call(request)
        elif request.call is not None or len(request.targets) != len(request.outputs):
            raise SignerRefused("target_missing", f"a payment for {request.purpose} pays nobody but this wallet")
        if request.chain:
            self._check_assets(request)

    def _check_assets(self, request: SignRequest) -> None:
        """A token without its contract would be the coin itself; a fee in another asset would count as nothing."""
        coin = _COINS.get(request.chain)
        if (request.token is None) != (request.asset == coin):
            raise SignerRefused("token_changed", f"{request.asset} is paid as what it is not")
        if (request.fee_asset or request.asset) != coin:
            raise SignerRefused("fee_asset_mismatch", f"fees on {request.chain} are not paid in {request.fee_asset}")

    def _check_withdrawals(self, request: SignRequest) -> None:
        if request.call is not None or request.targets:
            raise SignerRefused("item_mismatch", "a withdrawal calls no contract and does not pay ourselves")
        for row in request.withdrawals:
            self._check_withdrawal(row, request)
        ids = [row.id for row in request.withdrawals]
        one_each = len(ids) == len(set(ids)) and set(ids) == set(request.items)
        if not one_each or sorted(request.outputs) != sorted(request.items.values()):
            raise SignerRefused("item_mismatch", "each output answers to exactly one withdrawal")

    def _check_cold(self, request: SignRequest) -> None:
        known = self._cold.get(request.chain)
        if known is None or request.call is not None or [address for address, _ in request.outputs] != [known]:
            raise SignerRefused(
                "cold_mismatch", "a move to cold pays the cold address of the settings and nothing else"
            )

    def _check_call(self, request: SignRequest) -> None:
        if request.outputs or request.call is None or request.mac is None:
            raise SignerRefused("call_mismatch", "a contract call pays nobody and carries a MAC")
        known = self._mac.same(request.mac, self._mac.call(request.payment_id, request.call))
        if not known or request.call.get("chain") != request.chain:
            raise SignerRefused("mac_mismatch", "the contract call is not what an operator ordered")

    def _check_withdrawal(self, row: Any, request: SignRequest) -> None:
        if not self._mac.same(row.mac, self._mac.withdrawal(row)):
            raise SignerRefused("mac_mismatch", "the withdrawal is not what was committed through the API", row.id)
        if request.items.get(row.id) != (row.address, row.units) or row.asset != request.asset:
            raise SignerRefused("item_mismatch", "the payment would pay something else than the withdrawal", row.id)
        valid = {
            h for h, mac in request.approvals.get(row.id, ()) if self._mac.same(mac, self._mac.approval(row.mac, h))
        }
        if len(valid) < row.approvals_needed:
            raise SignerRefused(
                "approvals_missing", f"{row.approvals_needed} people must approve, {len(valid)} did", row.id
            )
