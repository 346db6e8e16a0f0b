"""Cases on a real monerod and monero-wallet-rpc.

They take seconds to start, so that one of each serves all cases: before each of them blocks are taken away and put
back, and the wallet file is exchanged. The outsider's wallet never reads on after its start: it always has the coins it
had then, and those that it paid with are frozen until the next case.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from monero import ed25519
from monero.keccak import keccak_256
from monero.seed import Seed

from devstack.evm import until
from devstack.monero_rpc import MoneroRpc, MoneroRpcError
from devstack.monero_wallet import MoneroPayer, MoneroWalletRpc, kept_wallet, prepared_chain
from devstack.monerod import Monerod
from ledger.money import UNITS_BOUND
from tests.faults.outside import Node, Outside, Receipt
from tests.faults.place import Place
from wallets.monero.addresses import Layout
from wallets.monero.blob import Blob, read_blob
from wallets.protocol import Output

WALLET, PASSWORD = "coffer", "correct horse"
XMR = 10**12
#: In place of the engine's hundred blocks, which take five seconds of mining.
FINAL_DEPTH = 14
COLD_ADDRESS = str(Seed(sha256(b"cold").hexdigest()).public_address())
POLICY: dict[str, dict[str, Any]] = {
    "XMR": {
        "payment_window_ms": 0,
        "address_watch_ahead": 100,
        "deposit_tiers": [[UNITS_BOUND, 10]],
        "hot_outputs": 0,
    }
}


def settings(place: Place, layout: Layout = "subaddress") -> dict[str, Any]:
    return {
        "monero_wallet_rpc_url": place.urls["wallet"],
        "monero_daemon_url": place.urls["daemon"],
        "monero_wallet": WALLET,
        "monero_wallet_password": PASSWORD,
        "monero_layout": layout,
        "monero_cold_address": COLD_ADDRESS,
    }


def settings_by_account(place: Place) -> dict[str, Any]:
    return settings(place, "account")


def outside(place: Place) -> MoneroOutside:
    return MoneroOutside(place)


def _rpc(url: str) -> MoneroRpc:
    parts = urlsplit(url)
    return MoneroRpc(int(parts.port or 0), parts.username or "", parts.password or "")


class MoneroNode(Node):
    """One node, one wallet-rpc with Coffer's wallet, one with the outsider's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._spent_by_starts: set[str] = set()
        self._base = 0  #: blocks that all states share
        self._node: Monerod | None = None
        self._payer: MoneroPayer | None = None
        self._wallet_rpc: MoneroWalletRpc | None = None

    @property
    def node(self) -> Monerod:
        assert self._node is not None
        return self._node

    @property
    def payer(self) -> MoneroPayer:
        assert self._payer is not None
        return self._payer

    @property
    def wallet_rpc(self) -> MoneroWalletRpc:
        assert self._wallet_rpc is not None
        return self._wallet_rpc

    @property
    def urls(self) -> dict[str, str]:
        if self._wallet_rpc is None:
            return {}
        return {
            "daemon": self.node.url,
            "wallet": self.wallet_rpc.url,
            "payer": self.payer.wallet_rpc.url,
            "payer_address": self.payer.address,
        }

    def make(self, case: Path) -> None:
        from tests.contract.monero_rig import TEMPLATES  # the suite's own, made once

        self._node, self._payer = prepared_chain(self.folder / "monero", TEMPLATES / "chain")
        self.payer.wallet_rpc.call("auto_refresh", enable=False)
        self._wallet_rpc = MoneroWalletRpc(self.folder / "monero" / "hot", self.node)
        kept_wallet(TEMPLATES / "wallets", 1, self.wallet_rpc.wallets, WALLET, PASSWORD)
        self.wallet_rpc.start()
        self._base = self.node.height()

    def save(self, kept: Path) -> None:
        self._close_wallet(store=True)
        shutil.copytree(self.wallet_rpc.wallets, kept / "wallets")
        blocks = [self._block(height) for height in range(self._base, self.node.height())]
        (kept / "blocks.json").write_text(json.dumps(blocks))
        self._spent_by_starts |= self._frozen()

    def restore(self, kept: Path) -> None:
        self._close_wallet(store=False)
        shutil.rmtree(self.wallet_rpc.wallets)
        shutil.copytree(kept / "wallets", self.wallet_rpc.wallets)
        for rings in (self.wallet_rpc.folder / "ringdb").rglob("*.mdb"):
            rings.unlink()  # it remembers decoys from blocks that are about to go
        self._put_back(json.loads((kept / "blocks.json").read_text()))
        for key_image in self._frozen() - self._spent_by_starts:
            self.payer.wallet_rpc.call("thaw", key_image=key_image)

    def kill_wallet(self) -> None:
        self.wallet_rpc.kill()
        self.wallet_rpc.start()

    def close(self) -> None:
        for process in (self._wallet_rpc, None if self._payer is None else self._payer.wallet_rpc, self._node):
            if process is not None:
                process.kill()

    def _close_wallet(self, *, store: bool) -> None:
        with suppress(MoneroRpcError):  # none is open
            self.wallet_rpc.call("close_wallet", autosave_current=store)

    def _block(self, height: int) -> dict[str, Any]:
        found = self.node.rpc.call("get_block", height=height)
        txids = json.loads(found["json"])["tx_hashes"]
        return {"hash": found["block_header"]["hash"], "blob": found["blob"], "txs": [self._bytes(t) for t in txids]}

    def _bytes(self, txid: str) -> str:
        return str(self.node.rpc.post("get_transactions", {"txs_hashes": [txid]})["txs"][0]["as_hex"])

    def _put_back(self, blocks: Sequence[dict[str, Any]]) -> None:
        shared = self._base
        height = self.node.height()
        for place, block in enumerate(blocks, self._base):
            if place >= height or self._hash(place) != block["hash"]:
                break
            shared = place + 1
        if height > shared:
            self.node.pop_blocks(height - shared)
        self.node.flush_pool()
        for block in blocks[shared - self._base :]:
            for raw in block["txs"]:
                self.node.rpc.post("send_raw_transaction", {"tx_as_hex": raw})
            self._submit(block["blob"])
        if blocks and self._hash(self._base + len(blocks) - 1) != blocks[-1]["hash"]:
            raise RuntimeError("a case took away blocks that all starts share: its reorganisation is too deep")

    def _submit(self, blob: str) -> None:
        body = {"jsonrpc": "2.0", "id": "0", "method": "submit_block", "params": [blob]}
        answer = self.node.rpc.post("json_rpc", body)
        if "error" in answer:
            raise RuntimeError(f"a kept block does not fit: {answer['error']}")

    def _hash(self, height: int) -> str:
        found = self.node.rpc.call("get_block_header_by_height", height=height)
        return str(found["block_header"]["hash"])

    def _frozen(self) -> set[str]:
        coins = self.payer.wallet_rpc.call("incoming_transfers", transfer_type="available")["transfers"]
        return {coin["key_image"] for coin in coins if coin["frozen"]}


class MoneroOutside(Outside):
    """What payees see is computed from the blocks with their own view keys."""

    def __init__(self, place: Place) -> None:
        self._daemon, self._payer = _rpc(place.urls["daemon"]), _rpc(place.urls["payer"])
        self._coffer = _rpc(place.urls["wallet"])
        self._miner_address = place.urls["payer_address"]
        self._memory = place.path / "outside.json"

    def payee(self, name: str) -> str:
        return str(self._seed(name).public_address())

    def _seed(self, name: str) -> Seed:
        return Seed(sha256(f"payee/{name}".encode()).hexdigest())

    def pay(self, outputs: Sequence[Output], token: str | None = None) -> str:
        destinations = [{"address": output.address, "amount": output.units} for output in outputs]
        made = self._payer.call("transfer", destinations=destinations, do_not_relay=True, get_tx_hex=True)
        for key_image in made["spent_key_images"]["key_images"]:
            self._payer.call("freeze", key_image=key_image)
        self._push(made["tx_blob"])
        txid = str(made["tx_hash"])
        paid = self._paid() | {txid: [[output.address, output.units] for output in outputs]}
        self._memory.write_text(json.dumps(paid))
        return txid

    def _paid(self) -> dict[str, list[Any]]:
        """What the outsider has ever paid to Coffer, by transaction."""
        found: dict[str, list[Any]] = json.loads(self._memory.read_text()) if self._memory.exists() else {}
        return found

    def _push(self, raw: str) -> None:
        answer = self._daemon.post("send_raw_transaction", {"tx_as_hex": raw})
        if answer["status"] != "OK":
            raise RuntimeError(f"the node refuses an outsider's transaction: {answer}")

    def mine(self, blocks: int) -> None:
        """The first block takes all that waits. For a moment the node hopes to pass a new transaction on in secret
        (Dandelion++) and mines without it: such a block is taken away again."""
        self._generate(1)
        until(self._nothing_waits, "the node to mine what its pool holds", 30)
        if blocks > 1:
            self._generate(blocks - 1)

    def _nothing_waits(self) -> bool:
        if not self._pool():
            return True
        self._daemon.post("pop_blocks", {"nblocks": 1})
        self._generate(1)
        return False

    def _generate(self, blocks: int) -> None:
        self._daemon.call("generateblocks", amount_of_blocks=blocks, wallet_address=self._miner_address)

    def reorg(self, depth: int, *, double_spent: Sequence[str] = ()) -> None:
        self._daemon.post("pop_blocks", {"nblocks": depth})
        waiting = {record["id_hash"]: record["tx_blob"] for record in self._pool()}
        self.empty_pool()
        self.mine(depth + 1)
        for txid, raw in waiting.items():
            if txid not in double_spent:
                self._push(raw)

    def _pool(self) -> list[dict[str, Any]]:
        return list(self._daemon.post("get_transaction_pool", {}).get("transactions", []))

    def empty_pool(self) -> None:
        self._daemon.call("flush_txpool")

    def paid_to(self, address: str, token: str | None = None) -> list[int]:
        seed = next((s for s in map(self._seed, _PAYEES) if str(s.public_address()) == address), None)
        if seed is None and address == COLD_ADDRESS:
            seed = Seed(sha256(b"cold").hexdigest())
        if seed is None:
            raise LookupError(f"nobody's address: {address}")
        return [units for blob in self._blobs() for units in _received(blob, seed)]

    def _blobs(self) -> Iterator[Blob]:
        """All transactions but the miners' in pool and chain, since the first that Coffer can have made."""
        yield from (read_blob(record["tx_blob"]) for record in self._pool())
        tip = int(self._daemon.call("get_block_count")["count"])
        headers = self._daemon.call("get_block_headers_range", start_height=1, end_height=tip - 1)["headers"]
        for header in headers:
            if header["num_txes"]:
                txids = json.loads(self._daemon.call("get_block", height=header["height"])["json"])["tx_hashes"]
                for record in self._daemon.post("get_transactions", {"txs_hashes": txids})["txs"]:
                    yield read_blob(record["as_hex"])

    def receipts(self) -> list[Receipt]:
        found = []
        tip = int(self._daemon.call("get_block_count")["count"])
        for txid, outputs in self._paid().items():
            answer = self._daemon.post("get_transactions", {"txs_hashes": [txid]})
            if answer.get("missed_tx"):
                continue
            record = answer["txs"][0]
            depth = 0 if record["in_pool"] else tip - record["block_height"]
            for address, units in outputs:
                index = self._coffer_call("get_address_index", address=address)["index"]
                found.append(Receipt(f"{txid}:{index['major']}:{index['minor']}", units, depth))
        return found

    def _coffer_call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._coffer.call(method, **params)

    def holds(self, index: int, token: str | None = None) -> int:
        self._coffer_call("refresh")
        return int(self._coffer_call("get_balance", account_index=index + 1)["balance"])

    def used(self, known: Collection[str]) -> set[str]:
        """Of the known key images; the wallet has no others of its own."""
        asked = sorted(known)
        if not asked:
            return set()
        spent = self._daemon.post("is_key_image_spent", {"key_images": asked})["spent_status"]
        return {key_image for key_image, status in zip(asked, spent, strict=True) if status}


#: All names of payees that flows use.
_PAYEES = [f"p{number}" for number in range(1, 16)]


def _received(blob: Blob, payee: Seed) -> Iterator[int]:
    """The amounts of the outputs that are this payee's, as its own wallet finds them (Zero to Monero 2.0, 4.2, 5.3)."""
    view, spend = bytes.fromhex(payee.secret_view_key()), bytes.fromhex(payee.public_spend_key())
    shared = ed25519.scalarmult(_EIGHT, ed25519.scalarmult(view, blob.public_key))
    for place, output in enumerate(blob.outputs):
        scalar = ed25519.scalar_reduce(keccak_256(shared + bytes([place])).digest())
        if ed25519.edwards_add(ed25519.scalarmult_B(scalar), spend) == output.key:
            pad = keccak_256(b"amount" + scalar).digest()
            yield int.from_bytes(bytes(a ^ b for a, b in zip(output.amount, pad, strict=False)), "little")


_EIGHT = (8).to_bytes(32, "little")
