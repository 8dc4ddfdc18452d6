"""A member's seat: taken, made whole after penalties, and given up."""

import time
from collections.abc import Callable

from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError

from tao.chain.reverts import Refused
from tao.display import utc
from tao.errors import ChainError
from tao.roles.context import Context
from tao.roles.journal import Done

Report = Callable[..., Done]
"""`Role.done`."""


class Seat:
    """What an account wants of the committee, done as soon as the contract lets it.

    How far it is only the chain knows, so another process may go on with it. is_given_up: the account has no seat, as
    it wanted.
    """

    def __init__(self, context: Context, report: Report) -> None:
        self._context, self._report = context, report
        self._functions = context.contracts.committee.functions
        self._next: Callable[[], Done | None] = lambda: None
        self._said, self._watched = "", b""
        self.is_given_up = False

    def take(self) -> Done | None:
        """Stake a seat, or restore the stake of the one there is; None where it is whole, or frozen: `pursue` then
        tries again. Raises ChainError, for an account that asked to leave above all."""
        self._next = self._take
        return self._take()

    def give_up(self) -> Done | None:
        """Ask to leave, unless that was done before; `pursue` takes the stake out. Raises ChainError."""
        self._next = self._leave
        start = time.monotonic()
        try:
            sent = self._context.send(self._functions.requestLeave(), already=("AlreadyLeaving",))
        except Refused as refused:
            if refused.error != "NotMember":
                raise
            return self._left("has no seat on the committee", start)
        if sent.already:
            return None
        return self._report("request-leave", "asked to leave the committee; is drawn no more", start, sent)

    def pursue(self) -> Done | None:
        """Do what is wanted and was not possible yet, or say what it waits for. Raises ChainError."""
        return self._next()

    def _take(self) -> Done | None:
        start, missing = time.monotonic(), self._missing()
        what = f"restored the stake, of which penalties had taken {self._ether(missing)}"
        try:
            if missing:
                sent = self._context.send(self._functions.topUp(), missing)
            else:
                self._simulate(self._functions.requestLeave())  # the stake is whole until it is taken out
                sent = None
        except Refused as refused:
            if refused.error == "AlreadyLeaving":
                raise ChainError(
                    f"the account {self._context.address} asked to leave the committee and is drawn no more; "
                    "take its stake out with --leave, then join again"
                ) from refused
            if refused.error == "StakesFrozen":
                self._say(
                    f"penalties took {self._ether(missing)} of the stake; they are restored after the next draw"
                )
                return None
            if refused.error != "NotMember":
                raise
            what = "joined the committee"
            sent = self._context.send(self._functions.join(), missing, already=("AlreadyMember",))
        self._next = self._watch
        return sent and self._report("join", what, start, sent)

    def _watch(self) -> None:
        """A penalised seat is drawn no more: whoever runs it should know, and find out why. Looks once a block."""
        if self._context.reader.head == self._watched:
            return
        self._watched = self._context.reader.head
        if missing := self._missing():
            self._say(
                f"penalties took {self._ether(missing)} of the stake, and the account is drawn no more; "
                "started again it restores them"
            )

    def _leave(self) -> Done | None:
        start, held = time.monotonic(), self._functions.stakeOf(self._context.address).call()
        try:
            sent = self._context.send(self._functions.leave())
        except Refused as refused:
            match refused.error:
                case "LeaveNotDue":
                    due = utc(refused.arguments["leavesAt"])
                    self._say(f"waits until {due} to take the stake out, and votes until then")
                case "StakesFrozen":
                    draws, duties = refused.arguments["pendingDraws"], refused.arguments["duties"]
                    self._say(
                        f"waits for {draws} pending draws and {duties} cases it sits on to take the stake out"
                    )
                case "NotMember":
                    return self._left("has no seat on the committee", start)
                case _:
                    raise
            return None
        return self._left(f"left the committee with a stake of {self._ether(held)}", start, sent)

    def _left(self, what: str, *details) -> Done:
        self.is_given_up, self._next = True, lambda: None
        return self._report(
            "leave", f"{what}; `tao withdraw` pays out what the vault owes the account", *details
        )

    def _missing(self) -> int:
        """Wei between what the account has staked and a whole stake."""
        return self._context.reader.stake - self._functions.stakeOf(self._context.address).call()

    def _simulate(self, call: ContractFunction) -> None:
        """Raises Refused where the contract would refuse the call."""
        try:
            call.call({"from": self._context.address})
        except ContractLogicError as error:
            raise self._context.contracts.errors.refusal(call.fn_name, error) from error

    def _ether(self, wei: int) -> str:
        return f"{self._context.w3.from_wei(wei, 'ether')} ETH"

    def _say(self, sentence: str) -> None:
        """Once, not at every look."""
        if sentence != self._said:
            self._context.journal.note("member", sentence)
        self._said = sentence
