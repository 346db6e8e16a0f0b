"""What an Ethereum node of ours offers to tests and to the demo's outside world, whichever program it is."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devstack.files import private_folder
from devstack.ports import free_port
from devstack.process import Daemon
from wallets.ethereum.hd import checksummed

#: Gas limit of what the outside world sends, where the caller names none: enough for every contract of ours.
CALL_GAS = 5_000_000
TRANSFER_GAS = 21_000


class EvmError(Exception):
    """The node refused a call. `code` is JSON-RPC's; the texts of geth and anvil differ. `data` is what a revert
    gave back, where the node tells."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.data = data


class EvmNode:
    """A node with one rich account of its own, the outside payer, whose key it holds.

    Ports and data stay the same over stop, kill and start. Subclasses say how it is run and how a block is made.
    """

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        self.port = free_port()
        self.daemon = Daemon(
            self.name,
            self._command(),
            log=self.folder / f"{self.name}.log",
            environ={"HOME": str(self.folder), "PATH": "/usr/bin:/bin"},  # neither writes into the user's own home
            folder=self.folder,
            ready=self._is_ready,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.daemon.up(timeout_seconds=60)

    def stop(self) -> None:
        """A clean end: the chain is kept, the pool is not."""
        self.daemon.stop(grace_seconds=30)

    def kill(self) -> None:
        self.daemon.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        self.daemon.pause()

    def resume(self) -> None:
        self.daemon.resume()

    def rpc(self, method: str, *params: Any, timeout_seconds: float = 60) -> Any:
        """One call on a connection of its own.

        Raises EvmError when the node refuses, OSError or http.client.HTTPException when it cannot be reached.
        """
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_seconds)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            raw = connection.getresponse().read()
        finally:
            connection.close()
        answer = json.loads(raw)
        if "error" in answer:
            error = answer["error"]
            raise EvmError(error["code"], error["message"], error.get("data"))
        return answer["result"]

    # --- what the chain says -------------------------------------------------------------------------------------

    def chain_id(self) -> int:
        return int(self.rpc("eth_chainId"), 16)

    def height(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    def block(self, number: int | str = "latest", *, full: bool = False) -> dict[str, Any]:
        """A block as the node tells it. Raises LookupError where there is none."""
        tag = number if isinstance(number, str) else hex(number)
        found = self.rpc("eth_getBlockByNumber", tag, full)
        if found is None:
            raise LookupError(f"no block {number}")
        return dict(found)

    def balance(self, address: str) -> int:
        """Wei at the tip."""
        return int(self.rpc("eth_getBalance", address, "latest"), 16)

    def nonce(self, address: str, tag: str = "latest") -> int:
        return int(self.rpc("eth_getTransactionCount", address, tag), 16)

    def code(self, address: str) -> str:
        return str(self.rpc("eth_getCode", address, "latest"))

    def receipt(self, tx_hash: str) -> dict[str, Any] | None:
        found = self.rpc("eth_getTransactionReceipt", tx_hash)
        return None if found is None else dict(found)

    def call(self, to: str, data: str, sender: str | None = None) -> str:
        """What a contract answers at the tip; raises EvmError when it reverts."""
        request = {"to": to, "data": data} | ({} if sender is None else {"from": sender})
        return str(self.rpc("eth_call", request, "latest"))

    # --- the outside world ---------------------------------------------------------------------------------------

    @property
    def payer(self) -> str:
        """The checksummed address of the outside payer."""
        return checksummed(bytes.fromhex(self.rpc("eth_accounts")[0][2:]))

    def pay(self, address: str, wei: int, *, gas: int = TRANSFER_GAS, **fields: Any) -> str:
        """Pays from outside; returns the hash of a transaction that waits for a block."""
        return self.send({"to": address, "value": hex(wei), "gas": hex(gas), **fields})

    def send(self, transaction: dict[str, Any]) -> str:
        """A transaction of the outside payer, signed by the node with its next nonce; returns its hash."""
        fields = {"from": self.payer, "gas": hex(CALL_GAS), **transaction}
        if "nonce" not in fields:
            fields["nonce"] = hex(self.nonce(fields["from"], "pending"))
        return str(self.rpc("eth_sendTransaction", fields))

    def send_raw(self, raw: str) -> str:
        return str(self.rpc("eth_sendRawTransaction", raw))

    def deploy(self, creation: str) -> str:
        """Deploys from outside and makes a block; the checksummed address. Raises RuntimeError if it failed."""
        receipt = self.settle(self.send({"data": creation}))
        if receipt["status"] != "0x1":
            raise RuntimeError(f"the deployment failed: {receipt['transactionHash']}")
        return checksummed(bytes.fromhex(receipt["contractAddress"][2:]))

    def settle(self, tx_hash: str, timeout_seconds: float = 20) -> dict[str, Any]:
        """Makes a block, unless the transaction is in one, and returns its receipt."""
        if self._told_receipt(tx_hash) is None:
            self.mine()
        until(lambda: self._told_receipt(tx_hash) is not None, f"a block with {tx_hash}", timeout_seconds)
        receipt = self.receipt(tx_hash)
        assert receipt is not None
        return receipt

    def _told_receipt(self, tx_hash: str) -> dict[str, Any] | None:
        """A receipt, once the node will say: geth refuses to tell that there is none while it indexes a new block."""
        try:
            return self.receipt(tx_hash)
        except EvmError as refusal:
            if "indexing" not in refusal.message:
                raise
            return None

    def mine(self, blocks: int = 1) -> None:
        """Makes blocks; the first takes what the pool holds."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _is_ready(self) -> bool:
        return bool(self.rpc("eth_chainId", timeout_seconds=5))


def until(condition: Callable[[], bool], what: str, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_seconds:g} s for {what}")
        time.sleep(0.02)
