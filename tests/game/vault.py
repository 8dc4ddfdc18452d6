"""Reference model of the vault: every wei that came in is locked, credited, burned or withdrawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from game.rules import Refused, Rules, require


class Vault:
    def __init__(self, rules: Rules):
        self.rules = rules
        self.locks: Counter[tuple[str, bytes]] = Counter()
        self.credits: Counter[str] = Counter()
        self.burned = 0
        self.deposited = 0
        self.withdrawn = 0

    def lock(self, controller: str, lock_id: bytes, amount: int) -> None:
        require(amount > 0, "EmptyTransfer")
        self.locks[controller, lock_id] += amount
        self.deposited += amount

    def credit(self, controller: str, lock_id: bytes, account: str, amount: int) -> None:
        self._release(controller, lock_id, amount)
        self.credits[account] += amount

    def burn(self, controller: str, lock_id: bytes, amount: int) -> None:
        self._release(controller, lock_id, amount)
        self.burned += amount

    def withdraw(self, account: str) -> int:
        amount = self.credits.pop(account, 0)
        require(amount > 0, "NothingToWithdraw")
        self.withdrawn += amount
        return amount

    def distribute(
        self, controller: str, lock_id: bytes, bond: int, winner: str, members: Sequence[str]
    ) -> None:
        """A lost bond: a share is burned, each member gets the fee, the winner the rest."""
        share = self.rules.burned(bond)
        self.burn(controller, lock_id, share)
        for member in members:
            self.credit(controller, lock_id, member, self.rules.member_fee)
        self.credit(controller, lock_id, winner, bond - share - len(members) * self.rules.member_fee)

    @property
    def locked(self) -> int:
        return sum(self.locks.values())

    @property
    def credited(self) -> int:
        return sum(self.credits.values())

    @property
    def balance(self) -> int:
        return self.deposited - self.withdrawn

    def _release(self, controller: str, lock_id: bytes, amount: int) -> None:
        if amount > self.locks[controller, lock_id]:
            raise Refused("InsufficientLock")
        self.locks[controller, lock_id] -= amount
