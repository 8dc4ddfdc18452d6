"""What an account keeps of its ether for the gas of its disputes.

Bonds, fees and winnings come back as credit in the vault, which pays for no gas before it is withdrawn. Who spends its
last ether on a bond cannot move, and loses by its clock.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from web3 import Web3

from tao.errors import ChainError, sentence
from tao.roles.context import Context
from tao.roles.journal import Done
from tao.roles.outcomes import outcomes
from tao.roles.role import SLICE, Role

WITHDRAWAL_GAS = 50_000
"""Credit that is worth less than this gas is left where it is."""


@dataclass(frozen=True)
class Withdraw:
    """Take the account's credit, in wei, out of the vault."""

    amount: int


@dataclass(frozen=True)
class Funds:
    """An account's ether, in wei. moves: what the moves of one dispute cost at the present fee. under_way: its claims
    that may be disputed, or its disputes."""

    balance: int
    moves: int
    under_way: int

    @property
    def reserve(self) -> int:
        """What is kept for the moves of all that is under way and of one more."""
        return self.moves * (self.under_way + 1)

    def is_short(self, bond: int) -> bool:
        """Whether the bond of one more would come out of the reserve."""
        return self.balance < bond + self.reserve


class Bonded(Role):
    """A role that puts up bonds of `bond` wei. It takes nothing on that it might have no gas to play to the end:
    `moves_gas` for each dispute."""

    moves_gas: int

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._under_way = 0
        self._is_short = False
        self._looked_at: int | None = None
        self._told_ends: set[bytes] = set()

    @property
    @abstractmethod
    def bond(self) -> int:
        """Wei at stake in each of its claims, or disputes."""

    def tick(self, seconds: float = SLICE) -> list[Done]:
        """See Role.tick; then say what has become of its bonds, once each."""
        done = super().tick(seconds)
        try:
            for identifier, action, what in outcomes(self.view(), self.address, self.context.reader):
                if identifier not in self._told_ends:
                    self._told_ends.add(identifier)
                    self.context.journal.done(self.done(action, what, time.monotonic()))
        except ChainError as error:
            self.context.journal.problem(self.name, "outcomes", sentence(error))
        return done

    def upkeep(self, action: object) -> Done | None:
        if isinstance(action, Withdraw):
            return self._withdraw(action.amount)
        return super().upkeep(action)

    def _withdrawals(self, block: int) -> Iterator[Withdraw]:
        """The withdrawal that is due: of credit, where the rest is short; what is short without it is said. Looks
        once at each block."""
        if block == self._looked_at:
            return
        self._looked_at = block
        if not self._funds().is_short(self.bond):
            return
        credit = self.context.contracts.vault.functions.creditOf(self.address).call()
        if credit > WITHDRAWAL_GAS * self.context.sender.fee:
            yield Withdraw(credit)
        else:
            self._may_bond()

    def _shortage(self) -> str | None:
        """What is missing for one more bond, in a sentence; None where nothing is."""
        funds = self._funds()
        if not funds.is_short(self.bond):
            return None
        held, bond, kept = (
            f"{Web3.from_wei(wei, 'ether'):.4f} ETH" for wei in (funds.balance, self.bond, funds.reserve)
        )
        disputes = f"{funds.under_way + 1} disputes" if funds.under_way else "a dispute"
        remedy = "send it ether" + (", or wait for what is under way" if funds.under_way else "")
        return (
            f"the account {self.address} holds {held}, too little to put up {bond} and keep {kept} for the gas of "
            f"{disputes}; {remedy}"
        )

    def _may_bond(self) -> bool:
        """Whether there is ether for one more bond. Where there begins to be too little that is said, once."""
        shortage = self._shortage()
        if shortage is not None and not self._is_short:
            self.context.journal.problem(self.name, "funds", shortage)
        self._is_short = shortage is not None
        return not self._is_short

    def _funds(self) -> Funds:
        balance = self.context.w3.eth.get_balance(self.address)
        return Funds(balance, self.moves_gas * self.context.sender.fee, self._under_way)

    def _withdraw(self, amount: int) -> Done | None:
        start, vault = time.monotonic(), self.context.contracts.vault.functions
        sent = self.context.send(vault.withdraw(self.address), already=("NothingToWithdraw",))
        if sent.already:
            return None
        what = f"withdrew {Web3.from_wei(amount, 'ether')} ETH of credit, for the gas of disputes"
        return self.done("withdraw", what, start, sent, amount=amount)
