"""Cases on a real anvil: a process of its own, which a death of Coffer does not touch."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from devstack.anvil import Anvil
from ledger.money import UNITS_BOUND
from tests.faults.outside import Node, Outside, Receipt
from tests.faults.place import Place
from wallets.ethereum import seed, seed_keys
from wallets.ethereum.addresses import EthereumAddressBook
from wallets.ethereum.contracts import creation, encode, load
from wallets.ethereum.hd import checksummed
from wallets.ethereum.keys import EthereumKeys
from wallets.ethereum.tokens import TRANSFER
from wallets.protocol import Output

GWEI, ETHER = 10**9, 10**18
CHAIN_ID = 31337
SEED, SEED_KEY = "0c" * 32, "7d" * 32
COLD_ADDRESS = checksummed(sha256(b"cold").digest()[:20])
TOKEN, TOKEN_DECIMALS = "TOK", 6
FIRST_BLOCKS = 10
#: Indices whose money the invariants look for; no flow gives out as many.
LOOKED_AT = 40
POLICY: dict[str, dict[str, Any]] = {
    "ETH": {"deposit_tiers": [[UNITS_BOUND, 3]], "withdrawal_confirmations": 3, "payment_bump_after_seconds": 300},
}
#: What a token starts with; a sweep is worth it from one token on.
TOKEN_POLICY: dict[str, Any] = POLICY["ETH"] | {"sweep_minimum_units": 10**6}


def settings(place: Place) -> dict[str, Any]:
    return {
        "ethereum_chain_id": CHAIN_ID,
        "ethereum_rpc_url": place.urls["node"],
        "ethereum_seed_file": _seed_file(place.path),
        "ethereum_seed_key": SEED_KEY,
        "ethereum_sweeper": _sweeper(place.path),
        "ethereum_cold_address": COLD_ADDRESS,
        "token_daily_outflow_caps": f"{TOKEN}=1000000",
    }


def outside(place: Place) -> EthereumOutside:
    return EthereumOutside(place.urls["node"], place.path)


def _seed_file(case: Path) -> Path:
    return case / "ethereum-seed"


def _sweeper(case: Path) -> str | None:
    """The sweep contract, once a start has had it deployed: as an operator writes it into the settings."""
    note = case / "sweeper"
    return note.read_text() if note.exists() else None


class EthereumNode(Node):
    """Killed and started anew on a kept state file: fifty milliseconds."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._node = Anvil(folder / "anvil", epoch_slots=4)

    @property
    def urls(self) -> dict[str, str]:
        return {"node": self._node.url}

    @property
    def _state(self) -> Path:
        return self._node.folder / "chain.json"

    def make(self, case: Path) -> None:
        self._node.start()
        self._node.mine(FIRST_BLOCKS)
        seed.store(_seed_file(case), seed.secret_of_hex(SEED), seed_keys.LocalKey.from_hex(SEED_KEY))

    def save(self, kept: Path) -> None:
        self._node.stop()
        kept.mkdir(parents=True)
        shutil.copy(self._state, kept)

    def restore(self, kept: Path) -> None:
        self._node.kill()
        shutil.copy(kept / self._state.name, self._state)
        self._node.start()

    def close(self) -> None:
        self._node.kill()


class _Known(Anvil):
    """An anvil that another process runs."""

    def __init__(self, url: str) -> None:
        self.port = int(urlsplit(url).port or 0)


class EthereumOutside(Outside):
    """The node's own rich account pays; blocks are read from the first to the last, whoever is paid in them."""

    def __init__(self, url: str, case: Path) -> None:
        self.node = _Known(url)
        self._case = case
        self._book = EthereumAddressBook(CHAIN_ID)

    @cached_property
    def ours(self) -> list[str]:
        """The addresses of Coffer's first indices, by the seed."""
        keys = EthereumKeys(bytes.fromhex(SEED))
        return [keys.address(index) for index in range(LOOKED_AT)]

    def payee(self, name: str) -> str:
        return checksummed(sha256(f"payee/{name}".encode()).digest()[:20])

    def pay(self, outputs: Sequence[Output], token: str | None = None) -> str:
        """One transaction for each output; the id of the last."""
        txid = ""
        for output in outputs:
            if token is None:
                txid = self.node.pay(output.address, output.units)
            else:
                data = encode(load("GoodToken"), "transfer", [output.address, output.units])
                txid = self.node.send({"to": token, "data": data})
        return txid

    def new_token(self) -> str:
        """A token, all of which is the payer's."""
        made = self.node.deploy(creation(load("GoodToken"), (TOKEN, TOKEN_DECIMALS, self.node.payer, 10**15)))
        return self._book.parse(made)

    def new_sweeper(self) -> None:
        """The sweep contract of Coffer's hot wallet; the settings of the next start name it."""
        made = self.node.deploy(creation(load("Sweeper"), (self.ours[0],)))
        (self._case / "sweeper").write_text(self._book.parse(made))

    def mine(self, blocks: int) -> None:
        self.node.mine(blocks)

    def reorg(self, depth: int, *, double_spent: Sequence[str] = ()) -> None:
        height = self.node.height()
        old = [tx["hash"] for n in range(height - depth + 1, height + 1) for tx in self._block(n)["transactions"]]
        raw = {txid: str(self.node.rpc("eth_getRawTransactionByHash", txid)) for txid in old}
        lost = [self.node.rpc("eth_getTransactionByHash", txid)["nonce"] for txid in double_spent]
        self.node.reorg(depth)
        for nonce in lost:
            self.node.send({"nonce": nonce, "to": self.payee("nobody"), "value": "0x1"})
        self.node.mine(1)
        for txid, text in raw.items():
            if txid not in double_spent:
                self.node.send_raw(text)

    def empty_pool(self) -> None:
        self.node.empty_pool()

    def set_rate(self, rate: int | None) -> None:
        self.node.set_base_fee(rate or GWEI)

    def paid_to(self, address: str, token: str | None = None) -> list[int]:
        moved = [*self._moved(), *self._waiting()]
        return [units for _, _, payee, units, contract, _ in moved if payee == address and contract == token]

    def receipts(self) -> list[Receipt]:
        tip, ours = self.node.height(), set(self.ours)
        return [
            Receipt(key, units, tip - height + 1)
            for key, sender, payee, units, _, height in self._moved()
            if payee in ours and sender not in ours
        ]

    def holds(self, index: int, token: str | None = None) -> int:
        address = self.ours[index]
        if token is None:
            return self.node.balance(address)
        return int(self.node.call(token, encode(load("GoodToken"), "balanceOf", [address])), 16)

    def used(self, known: Collection[str]) -> set[str]:
        """Every nonce that our keys have used: in a block, or in a transaction that waits."""
        return {
            f"{address.lower()}:{nonce}"
            for address in self.ours
            for nonce in range(self.node.nonce(address, "pending"))
        }

    def _moved(self) -> Iterator[tuple[str, str, str, int, str | None, int]]:
        """(key, sender, payee, units, token, height) of all that blocks have moved."""
        for height in range(FIRST_BLOCKS + 1, self.node.height() + 1):
            for tx in self._block(height)["transactions"]:
                receipt = self.node.receipt(tx["hash"])
                if receipt is None or receipt["status"] != "0x1":
                    continue
                if int(tx["value"], 16):
                    key, sender = f"{tx['hash']}:tx", self._text(tx["from"])
                    yield key, sender, self._text(tx["to"]), int(tx["value"], 16), None, height
                for place, log in enumerate(receipt["logs"]):
                    if log["topics"][0] == TRANSFER:
                        sender, payee = (self._text("0x" + topic[-40:]) for topic in log["topics"][1:3])
                        units, token = int(log["data"], 16), self._text(log["address"])
                        deed = sha256(f"{payee.lower()}:{units}".encode()).hexdigest()[:24]
                        yield f"{tx['hash']}:log:{place}:{deed}", sender, payee, units, token, height

    def _waiting(self) -> Iterator[tuple[str, str, str, int, str | None, int]]:
        """The same of what waits in the pool: plain payments, and calls of `transfer`."""
        for of_sender in self.node.pool()["pending"].values():
            for tx in of_sender.values():
                sender, to, data = self._text(tx["from"]), tx["to"], tx["input"]
                if int(tx["value"], 16):
                    yield "", sender, self._text(to), int(tx["value"], 16), None, 0
                elif data.startswith("0xa9059cbb"):
                    payee = self._text("0x" + data[34:74])
                    yield "", sender, payee, int(data[74:138], 16), self._text(to), 0

    def _text(self, address: str) -> str:
        return checksummed(bytes.fromhex(address[2:]))

    def _block(self, number: int) -> dict[str, Any]:
        return self.node.block(number, full=True)
