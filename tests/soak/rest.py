"""After the last act: everything comes to its end, with what a shop, its payers and an operator do for it meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from devstack.process import DaemonFailed
from tests.soak.book import Book, Order
from tests.soak.ground import until
from tests.soak.outside import World
from tests.soak.stack import SoakStack
from tests.soak.traffic import Traffic
from tests.soak.verdict import Api

#: How long after the last act everything must have come to rest. Bytes that the chain has made impossible are replaced
#: after twenty minutes.
REST_SECONDS = 2400.0
#: An operator looks at what is in review after this long, then every so often: the chain must have proven it dead.
_OPERATOR_SECONDS = 60.0
_FINAL_BLOCKS = 101

_ESCROW_OVER = frozenset({"released", "refunded", "resolved", "expired", "cancelled"})
_SWAP_OVER = frozenset({"executed", "completed", "refunded", "expired"})


class Rest:
    def __init__(
        self, stack: SoakStack, api: Api, world: World, book: Book, traffic: Traffic, tell: Callable[[str], None]
    ) -> None:
        self._stack, self._api, self._world, self._book = stack, api, world, book
        self._traffic, self._tell = traffic, tell
        self._looked = time.monotonic()
        self.decisions = 0  #: of the operator, about payments that the chain has made impossible

    def come(self) -> list[str]:
        """What had not come to its end in time, a line each; normally nothing."""
        try:
            until(self._at_rest, "everything to come to its end", REST_SECONDS)
        except TimeoutError as error:
            return [str(error), *self.unfinished()]
        return []

    def _at_rest(self) -> bool:
        found = self.unfinished()
        if found:
            self._help_orders()
        if found and time.monotonic() - self._looked > _OPERATOR_SECONDS:
            self._tell(f"{len(found)} are not over: {'; '.join(found[:3])}")
            self._operate()
            self._looked = time.monotonic()
        return not found

    def unfinished(self) -> list[str]:
        """What has not come to its end, a line each; only then what is credited and in no block, or the other way
        round."""
        api = self._api
        found = [
            f"withdrawal {w['id']} of {w['asset']} is {w['status']} ({w['status_reason']})"
            for w in api.all_of("/withdrawals")
            if w["status"] != "completed"
        ]
        deposits = api.all_of("/deposits")
        found += [
            f"deposit {d['id']} of {d['asset']} is {d['status']} ({d['status_reason']})"
            for d in deposits
            if d["status"] not in ("credited", "final", "reversed")
        ]
        found += [f"escrow {e['id']} is {e['status']} ({e['status_reason']})" for e in self._open_escrows()]
        found += [f"swap {s['id']} is {s['status']} ({s['status_reason']})" for s in self._open_swaps()]
        return found or self._astray(deposits)

    def _astray(self, deposits: list[dict[str, Any]]) -> list[str]:
        paid = self._world.paid_in()
        mined = self._world.mined(paid)
        rows = {(d["asset"], d["txid"]): d["status"] for d in deposits}
        told = {one: rows.get((one.asset, one.txid)) for one in paid}
        return [
            f"{one.asset} {one.txid} is {status}, and {'in a' if one in mined else 'in no'} block"
            for one, status in told.items()
            if (status in ("credited", "final")) != (one in mined)
        ]

    def _open_escrows(self) -> list[dict[str, Any]]:
        return [e for e in self._api.all_of("/escrows") if e["status"] not in _ESCROW_OVER]

    def _open_swaps(self) -> list[dict[str, Any]]:
        return [s for s in self._api.all_of("/swaps") if s["status"] not in _SWAP_OVER]

    def _help_orders(self) -> None:
        """Orders whose payment was forgotten with a pool, or taken back, are paid again; funded ones are ended."""
        for shown in self._open_escrows():
            order = self._book.escrows.get(shown["id"])
            if order is None:
                continue
            if shown["status"] == "funded":
                self._traffic.end(order)
            elif shown["status"] == "disputed":
                self._traffic.resolve(order)
            elif shown["address"] is None:
                self._traffic.ask("cancel", f"/escrows/{order.id}/cancel", {})
            else:
                self._pay_again(order, shown["address"])
        for shown in self._open_swaps():
            order = self._book.swaps.get(shown["id"])
            if order is not None and shown["status"] == "awaiting_deposit" and shown["deposit"]["address"]:
                self._pay_again(order, shown["deposit"]["address"])

    def _pay_again(self, order: Order, home: str) -> None:
        order.home = home
        made = [one for one in self._world.paid if one.address == home]
        if not (made and self._world.waits(made[-1])) and not self._world.mined(made):
            self._traffic.pay(order)

    def _operate(self) -> None:
        """Payments in review, by the two commands that `coffer explain` names as safe: the chain must have proven that
        one is dead, or the same bytes are sent again."""
        waiting = [p["id"] for p in json.loads(self._stack.cli("payments", "list", "--json")) if p["state"] == "review"]
        if waiting:
            self._world.chains["bitcoin"].mine(_FINAL_BLOCKS)
        for payment in waiting:
            try:
                self._stack.cli("payments", "resolve", payment, "--retry", "--as", "soak")
                self.decisions += 1
            except DaemonFailed as refusal:
                self._tell(f"{payment} is not let go: {str(refusal)[-200:]}")
                self._stack.cli("payments", "recheck", payment, "--as", "soak")
