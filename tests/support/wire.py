"""A thin wire to the test chain: one HTTP connection, unlocked accounts, errors and events by name.

Ape's wrappers take about 15 ms a transaction; the stateful tests send thousands, so they use this. Deployment
and the tests of tests/contracts go through Ape itself.
"""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlparse

from eth_abi import decode, encode
from eth_hash.auto import keccak

GAS = 12_000_000
PATIENCE = 120
"""Seconds to wait for a receipt."""
BUILT_IN = {
    keccak(b"Panic(uint256)")[:4]: ("Panic", ("uint256",)),
    keccak(b"Error(string)")[:4]: ("Error", ("string",)),
}


class Reverted(Exception):
    """A transaction or call reverted; `error` is the name of the custom error, `values` its arguments."""

    def __init__(self, error: str, values: tuple, gas_used: int = 0):
        super().__init__(f"{error}{values}")
        self.error, self.values, self.gas_used = error, values, gas_used


@dataclass(frozen=True)
class Event:
    emitter: str
    name: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Receipt:
    gas_used: int
    block: int
    timestamp: int
    events: tuple[Event, ...]

    def event(self, name: str) -> dict[str, Any]:
        """The arguments of the only event of that name."""
        (found,) = (event.values for event in self.events if event.name == name)
        return found


@dataclass(frozen=True)
class Method:
    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Contract:
    """An address with the methods of its ABI."""

    name: str
    address: str
    methods: dict[str, Method] = field(repr=False)

    def data(self, method: str, *args: Any) -> str:
        entry = self.methods[method]
        return "0x" + (entry.selector + encode(entry.inputs, args)).hex()

    def query(self, method: str, args: Sequence[Any]) -> str:
        """The data of a read that is made again and again, of hashable arguments."""
        entry = self.methods[method]
        return "0x" + (entry.selector + _encoded(entry.inputs, tuple(args))).hex()


@lru_cache(maxsize=100_000)
def _encoded(types: tuple[str, ...], args: tuple) -> bytes:
    return encode(types, args)


@lru_cache(maxsize=100_000)
def _decoded(types: tuple[str, ...], raw: str) -> Any:
    values = decode(types, bytes.fromhex(raw[2:]))
    return values[0] if len(values) == 1 else values


class Wire:
    def __init__(self, url: str):
        address = urlparse(url)
        self._http = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
        self._errors: dict[bytes, tuple[str, tuple[str, ...]]] = dict(BUILT_IN)
        self._events: dict[bytes, tuple[str, list]] = {}
        self.gas: dict[str, Counter] = defaultdict(Counter)
        self.chain_id = int(self.rpc("eth_chainId"), 16)

    # ---- transport

    def _post(self, body: Any) -> Any:
        self._http.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(self._http.getresponse().read())

    def rpc(self, method: str, *params: Any) -> Any:
        answer = self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def snapshot(self) -> str:
        return self.rpc("evm_snapshot")

    def restore(self, snapshot: str) -> None:
        # The receipt may be there before the pool has let go of the transaction: it would be mined once more,
        # or take the next one of its nonce with it.
        while int(self.rpc("txpool_status")["pending"], 16):
            time.sleep(0.001)
        if not self.rpc("evm_revert", snapshot):
            raise RuntimeError(f"no snapshot {snapshot}")

    def now(self) -> tuple[int, int]:
        """Timestamp and number of the latest block."""
        block = self.rpc("eth_getBlockByNumber", "latest", False)
        return int(block["timestamp"], 16), int(block["number"], 16)

    def set_time(self, timestamp: int) -> None:
        """The next block's timestamp; no earlier than the latest one's."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)

    def mine(self, blocks: int = 1, at: int | None = None) -> None:
        if at is not None:
            self.set_time(at)
        self.rpc("anvil_mine", hex(blocks), hex(0))

    def balance(self, address: str) -> int:
        return int(self.rpc("eth_getBalance", address, "latest"), 16)

    # ---- contracts

    def contract(self, name: str, address: str, abi: Sequence[Any]) -> Contract:
        """`abi` as ethpm_types has it; errors and events of all contracts share one table."""
        methods: dict[str, Method] = {}
        for entry in abi:
            if entry.type == "function":
                inputs = tuple(i.canonical_type for i in entry.inputs)
                outputs = tuple(o.canonical_type for o in entry.outputs)
                methods[entry.name] = Method(keccak(entry.selector.encode())[:4], inputs, outputs)
            elif entry.type == "error":
                types = tuple(i.canonical_type for i in entry.inputs)
                self._errors[keccak(entry.selector.encode())[:4]] = (entry.name, types)
            elif entry.type == "event":
                self._events[keccak(entry.selector.encode())] = (entry.name, entry.inputs)
        return Contract(name, address, methods)

    def send(
        self,
        sender: str,
        contract: Contract,
        method: str,
        *args: Any,
        value: int = 0,
        at: int | None = None,
        gas: int = GAS,
    ) -> Receipt:
        """One transaction in a block of its own, at second `at`; raises Reverted."""
        receipt = self._transact(sender, contract.address, contract.data(method, *args), value, at, gas)
        self.gas[f"{contract.name}.{method}"][receipt.gas_used] += 1
        return receipt

    def deploy(self, sender: str, bytecode: bytes, value: int = 0) -> str:
        transaction = {"from": sender, "data": "0x" + bytecode.hex(), "value": hex(value), "gas": hex(GAS)}
        return self._included(transaction)["contractAddress"]

    def _included(self, transaction: dict[str, str]) -> dict[str, Any]:
        """The receipt of a transaction; a machine under load may take its time."""
        sent = self.rpc("eth_sendTransaction", transaction)
        deadline = time.monotonic() + PATIENCE
        while (receipt := self.rpc("eth_getTransactionReceipt", sent)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no receipt of {sent} after {PATIENCE} seconds")
            time.sleep(0.001)
        return receipt

    def _transact(self, sender: str, to: str, data: str, value: int, at: int | None, gas: int) -> Receipt:
        if at is not None:
            self.set_time(at)
        transaction = {"from": sender, "to": to, "data": data, "value": hex(value), "gas": hex(gas)}
        raw = self._included(transaction)
        gas_used = int(raw["gasUsed"], 16)
        if int(raw["status"], 16) == 0:
            trace = self.rpc("debug_traceTransaction", raw["transactionHash"], {"tracer": "callTracer"})
            raise self._reverted(trace.get("output", "0x"), gas_used)
        events = tuple(self._event(log) for log in raw["logs"])
        return Receipt(gas_used, int(raw["blockNumber"], 16), int(raw["blockTimestamp"]), events)

    def call(
        self, contract: Contract, method: str, *args: Any, sender: str | None = None, gas: int = GAS
    ) -> Any:
        """A read at the latest block and its timestamp; raises Reverted."""
        request = {"to": contract.address, "data": contract.data(method, *args), "gas": hex(gas)}
        if sender is not None:
            request["from"] = sender
        answer = self._post({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [request, "latest"]})
        if "error" in answer:
            raise self._reverted(answer["error"].get("data") or "0x", 0)
        return _decoded(contract.methods[method].outputs, answer["result"])

    def read(self, calls: Sequence[tuple]) -> list[Any]:
        """Many reads (contract, method, *args) in one request; none may revert."""
        bodies = [
            {
                "jsonrpc": "2.0",
                "id": i,
                "method": "eth_call",
                "params": [{"to": contract.address, "data": contract.query(method, args)}, "latest"],
            }
            for i, (contract, method, *args) in enumerate(calls)
        ]
        answers = sorted(self._post(bodies), key=lambda answer: answer["id"]) if bodies else []
        results = []
        for (contract, method, *_), answer in zip(calls, answers, strict=True):
            if "error" in answer:
                raise self._reverted(answer["error"].get("data") or "0x", 0)
            results.append(_decoded(contract.methods[method].outputs, answer["result"]))
        return results

    # ---- decoding

    def _reverted(self, output: str, gas_used: int) -> Reverted:
        raw = bytes.fromhex(output[2:])
        name, types = self._errors.get(raw[:4], (None, ()))
        if name is None:
            return Reverted(f"unknown error {raw[:4].hex()}" if raw else "no data", (), gas_used)
        return Reverted(name, decode(types, raw[4:]), gas_used)

    def _event(self, log: dict) -> Event:
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        name, inputs = self._events[topics[0]]
        plain = [i for i in inputs if not i.indexed]
        values = dict(
            zip(
                (i.name for i in plain),
                decode([i.canonical_type for i in plain], bytes.fromhex(log["data"][2:])),
                strict=True,
            )
        )
        for i, topic in zip((i for i in inputs if i.indexed), topics[1:], strict=True):
            values[i.name] = decode([i.canonical_type], topic)[0]
        return Event(log["address"], name, values)
