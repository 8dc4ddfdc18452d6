"""One sender per account: nonces, fees, gas, receipts, and refusals told in one sentence."""

import math
import re
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3RPCError
from web3.types import TxReceipt

from tao.chain.reverts import Errors
from tao.errors import ChainError, TooLarge

GAS_MARGIN = 1.25
"""Estimates are taken on another block than the one that includes the transaction."""
MOST_GAS = 1 << 24
"""Of a transaction (EIP-7825); the margin ends there."""

FEE_BUMP = 1.25
"""Above the 10 % that nodes ask of a replacement."""

MOST_OVER_MARKET = 8
"""Times what the node suggests that a replacement may offer. What waits then waits for the chain, not for the fee."""

MOST_TIP = 100 * 10**9
"""Wei a gas: a node that suggests more is not to be believed."""

REPLACEMENTS = 4
"""Of one transaction before the caller gets to look at the chain again."""

ATTEMPTS = 4
"""Times a transaction is rebuilt after its nonce was taken by another one."""

FEE_AGE = 12.0
"""Seconds for which `Sender.fee` does: a slot."""

TELL_AFTER = 2.0
"""Seconds after which it is shown that a transaction waits."""

Waiting = Callable[[str], AbstractContextManager[object]]
"""Given what is waited for in words; the context lasts as long as the wait."""

_TOO_LARGE = re.compile(
    "oversized|transaction size|maxtxsize|exceeds block gas|gas limit (is )?too high|gas too high"
    "|gas required exceeds|out of gas"
)
"""How nodes say that a transaction has too many bytes or takes too much gas; none of them has a code for it."""

_NO_LOOKUPS = {
    "gas": 0, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "nonce": 0, "chainId": 0, "value": 0,
}  # fmt: skip
"""Fields given so that web3 only encodes the call and asks the node nothing."""


class Signer(Protocol):
    """An account that signs: eth_account's LocalAccount, or a wrapper of another wallet."""

    address: str

    def sign_transaction(self, transaction: dict[str, Any]) -> Any:
        """An object with `raw_transaction` and `hash`."""


@dataclass(frozen=True)
class Sent:
    """A transaction that is on the chain, or `already` where the chain was in the wanted state before."""

    what: str
    already: bool
    transaction: str = ""
    gas_used: int = 0
    block: int = 0
    receipt: TxReceipt | None = None


class _NonceTaken(Exception):
    """Another transaction of the account was first."""


class Sender:
    """Sends transactions of one account, one after the other.

    The nonce is kept here and read anew from the chain after any error. A transaction without a receipt after
    `patience` seconds is replaced by the same one with a higher fee, so it is included once at most. What an
    earlier process left waiting is replaced too: behind it nothing would be included.
    """

    def __init__(
        self,
        w3: Web3,
        signer: Signer,
        errors: Errors,
        *,
        patience: float = 90.0,
        poll: float | None = None,
        waiting: Waiting = nullcontext,
        tell_after: float = TELL_AFTER,
    ):
        """poll: seconds between looks for a receipt, by default ever longer ones. waiting: shows a transaction that
        is not included within `tell_after` seconds."""
        self.w3, self.signer, self._errors = w3, signer, errors
        self.address: str = Web3.to_checksum_address(signer.address)
        self._chain_id = w3.eth.chain_id
        self._patience = patience
        self._poll = poll
        self._waiting, self._tell_after = waiting, tell_after
        self._nonce: int | None = None
        self._fee, self._fee_at = 0, -math.inf

    @property
    def fee(self) -> int:
        """Wei a gas that a transaction offers, as of FEE_AGE seconds ago at most."""
        if time.monotonic() > self._fee_at + FEE_AGE:
            self._fee, self._fee_at = self._fees()["maxFeePerGas"], time.monotonic()
        return self._fee

    def send(self, call: ContractFunction, value: int = 0, already: Iterable[str] = ()) -> Sent:
        """Send a contract call and wait for its receipt.

        value: wei. already: names of custom errors that mean that somebody has done it before us; they count
        as success. Raises Refused where the contract refuses, ChainError for anything else.
        """
        data = call.build_transaction(_NO_LOOKUPS)["data"]
        return self.transact(call.fn_name, data, to=call.address, value=value, already=already)

    def transact(
        self, what: str, data: str | bytes, to: str | None = None, value: int = 0, already: Iterable[str] = ()
    ) -> Sent:
        """Send raw data to a contract, or create one where `to` is None; see `send`."""
        body = {"from": self.address, "data": data, "value": value} | ({"to": to} if to else {})
        for _ in range(ATTEMPTS):
            try:
                receipt = self._include(what, body)
                break
            except ContractLogicError as error:
                self._nonce = None
                refusal = self._errors.refusal(what, error)
                if refusal.error in already:
                    return Sent(what, already=True)
                raise refusal from error
            except Web3RPCError as error:
                self._nonce = None
                raise self._explained(what, body, error) from error
            except _NonceTaken:
                self._nonce = None
        else:
            raise ChainError(
                f"{what} lost its nonce {ATTEMPTS} times; is {self.address} used by another process?"
            )
        return Sent(
            what,
            already=False,
            transaction=Web3.to_hex(receipt["transactionHash"]),
            gas_used=receipt["gasUsed"],
            block=receipt["blockNumber"],
            receipt=receipt,
        )

    def _include(self, what: str, body: dict[str, Any]) -> TxReceipt:
        """Sign and send until there is a receipt; raises _NonceTaken, or web3's error where it is refused."""
        estimate = self.w3.eth.estimate_gas(body)
        gas = max(estimate, min(int(estimate * GAS_MARGIN), MOST_GAS))
        if self._nonce is None:
            self._nonce = self.w3.eth.get_transaction_count(self.address, "latest")
        transaction = {key: item for key, item in body.items() if key != "from"} | {
            "chainId": self._chain_id,
            "nonce": self._nonce,
            "gas": gas,
            "type": 2,
            **self._fees(),
        }
        hashes: list[bytes] = []
        receipt = None
        for _ in range(1 + REPLACEMENTS):
            self._submit(transaction, hashes)
            receipt = self._await(what, hashes)
            if receipt is not None:
                break
            self._raise_fees(transaction)
        else:
            self._nonce = None
            raise ChainError(
                f"{what} still waits as {Web3.to_hex(hashes[-1])}, at {transaction['maxFeePerGas'] / 1e9:.3g} gwei;"
                " it is tried again with what else is to be done"
            )
        self._nonce += 1
        if receipt["status"] == 0:
            # The state changed between estimate and inclusion; the same call on that state says why.
            self.w3.eth.call(body, receipt["blockNumber"])
            raise TooLarge(f"{what} failed in {Web3.to_hex(receipt['transactionHash'])}, perhaps out of gas")
        return receipt

    def _submit(self, transaction: dict[str, Any], hashes: list[bytes]) -> None:
        """Sign, send and note the hash, for more where another transaction waits with this nonce."""
        while True:
            signed = self.signer.sign_transaction(transaction)
            hashes.append(bytes(signed.hash))
            try:
                self.w3.eth.send_raw_transaction(signed.raw_transaction)
                return
            except Web3RPCError as error:
                text = str(error).lower()
                # After a dropped connection the node may have the transaction although nobody told us.
                if "already known" in text or "already imported" in text:
                    return
                if "underpriced" in text and self._raise_fees(transaction):
                    hashes.pop()
                    continue
                if "nonce too low" in text or "underpriced" in text:
                    if self._receipt(hashes) is None:
                        raise _NonceTaken from error
                    return
                raise

    def _raise_fees(self, transaction: dict[str, Any]) -> bool:
        """Offer more for the transaction, within MOST_OVER_MARKET of what is usual now; whether it does."""
        before = transaction["maxFeePerGas"]
        for fee, usual in self._fees().items():
            most = MOST_OVER_MARKET * usual
            transaction[fee] = max(transaction[fee], min(int(transaction[fee] * FEE_BUMP) + 1, most), usual)
        return transaction["maxFeePerGas"] > before

    def _await(self, what: str, hashes: list[bytes]) -> TxReceipt | None:
        start, pause, is_shown = time.monotonic(), 0.05, False
        waits = f"waiting for transaction {Web3.to_hex(hashes[-1])} ({what}) to be included"
        with ExitStack() as shown:
            while (receipt := self._receipt(hashes)) is None and time.monotonic() < start + self._patience:
                if not is_shown and time.monotonic() >= start + self._tell_after:
                    shown.enter_context(self._waiting(waits))
                    is_shown = True
                time.sleep(self._poll or pause)
                pause = min(2.0, pause * 1.5)
        return receipt

    def _receipt(self, hashes: list[bytes]) -> TxReceipt | None:
        for transaction_hash in hashes:
            try:
                return self.w3.eth.get_transaction_receipt(transaction_hash)
            except TransactionNotFound:
                continue
        return None

    def _fees(self) -> dict[str, int]:
        tip = min(self.w3.eth.max_priority_fee, MOST_TIP)
        base = self.w3.eth.get_block("latest").get("baseFeePerGas", 0)
        return {"maxPriorityFeePerGas": tip, "maxFeePerGas": 2 * base + tip}

    def _explained(self, what: str, body: dict[str, Any], error: Web3RPCError) -> ChainError:
        text = str(error.message or error)
        lowered = text.lower()
        if "insufficient funds" in lowered or "funds for gas" in lowered:
            held = Web3.from_wei(self.w3.eth.get_balance(self.address), "ether")
            value = Web3.from_wei(body["value"], "ether")
            return ChainError(
                f"{what}: the account {self.address} holds {held} ETH, too little for {value} ETH "
                "and the gas; send it ether on this chain"
            )
        kind = TooLarge if _TOO_LARGE.search(lowered) else ChainError
        return kind(f"{what} was not accepted by the node: {text}")
