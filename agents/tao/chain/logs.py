"""Event logs in bounded ranges of blocks, kept in memory as far as no reorganisation reaches."""

from collections.abc import Iterable, Iterator

from eth_utils import event_abi_to_log_topic
from web3 import Web3
from web3.contract.contract import ContractEvent
from web3.exceptions import Web3RPCError
from web3.types import EventData, LogReceipt

from tao.errors import ChainError

RANGE = 5_000
"""Blocks asked for at once; halved where a node refuses."""

DEPTH = 64
"""Blocks behind the head that are read again every time: two epochs, after which a block is final."""

Logs = dict[str, list[EventData]]


class EventLog:
    """All logs of some events since a block, read together. `at` brings them up to a head."""

    def __init__(self, w3: Web3, events: Iterable[ContractEvent], first_block: int):
        """events: of contracts with an address, with distinct names."""
        self._w3 = w3
        self._events = {bytes(event_abi_to_log_topic(event.abi)): event for event in events}
        self._addresses = sorted({event.address for event in self._events.values()})
        self._settled: list[EventData] = []
        self._fresh: dict[tuple[bytes, int], EventData | None] = {}
        self._first = self._next = first_block
        self._back = DEPTH

    def at(self, head: int) -> Logs:
        """Every log up to block `head` by event name, in order. Those deeper than DEPTH are remembered."""
        settled_until = head - DEPTH
        if self._next <= settled_until:
            # All of them or none: a range that fails later is read again from its start.
            self._settled += list(filter(None, map(self._decoded, self._read(self._next, settled_until))))
            self._next = settled_until + 1
        # A block's hash names its logs: those of the last look are not decoded again.
        fresh = {(bytes(log["blockHash"]), log["logIndex"]): log for log in self._read(self._next, head)}
        self._fresh = {key: self._fresh.get(key) or self._decoded(log) for key, log in fresh.items()}
        found: Logs = {event.event_name: [] for event in self._events.values()}
        for log in (*self._settled, *filter(None, self._fresh.values())):
            found[log["event"]].append(log)
        return found

    def doubt(self) -> None:
        """Read blocks again that are remembered, twice as many each time until `confirm`: the node may have answered
        before it had their logs."""
        self._back *= 2
        self._next = max(self._first, self._next - self._back)
        self._settled = [log for log in self._settled if log["blockNumber"] < self._next]

    def confirm(self) -> None:
        """What was read fits what is known otherwise."""
        self._back = DEPTH

    def _read(self, start: int, stop: int) -> Iterator[LogReceipt]:
        """The logs of blocks start..stop, none where start > stop."""
        size = RANGE
        while start <= stop:
            end = min(stop, start + size - 1)
            wanted = {"address": self._addresses, "topics": [list(self._events)]}
            try:
                logs = self._w3.eth.get_logs(wanted | {"fromBlock": start, "toBlock": end})
            except Web3RPCError as error:
                if end == start:
                    raise ChainError(f"the node gives no logs of block {start}: {error}") from error
                size = max(1, (end - start + 1) // 2)
                continue
            yield from logs
            start = end + 1

    def _decoded(self, log: LogReceipt) -> EventData | None:
        """None for text that is not UTF-8: anyone may have it emitted, and no contract looks at it."""
        try:
            return self._events[bytes(log["topics"][0])].process_log(log)
        except UnicodeDecodeError:
            return None
