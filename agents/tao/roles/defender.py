"""Whoever claims: serves requests, defends its claims, collects. What it computes, subclasses say."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor
from web3.logs import DISCARD

from tao.chain.sender import Sent
from tao.errors import ChainError, ModelError, StoreError, sentence
from tao.model import ModelBundle
from tao.protocol import actions, prover
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, ClaimView, DisputeView
from tao.roles import sums
from tao.roles.admission import require_short_reveals
from tao.roles.context import Context
from tao.roles.funds import Bonded
from tao.roles.journal import Done
from tao.roles.role import OVER, dispute_facts, short
from tao.roles.states import fetch_read
from tao.tensors import TensorTree, TensorType, commit

Publish = Callable[[Tensor], bytes]
"""Makes a tensor available, and returns its commitment."""


class Defender(Bonded):
    """Serves requests for one model that pay `minimum_fee` wei or more, and defends this account's claims."""

    moves_gas = 5_000_000  # states at some four turns, of which one alone fills a transaction at most

    def __init__(self, context: Context, bundle: ModelBundle, minimum_fee: int = 0) -> None:
        """Raises ModelError for a model whose states are too long to reveal."""
        require_short_reveals(bundle, context.reader.fan_out)
        super().__init__(context)
        self.bundle = bundle
        self.minimum_fee = minimum_fee
        self._unpublished: list[tuple[Publish, Tensor]] = []

    @abstractmethod
    def _states(self, claim: ClaimView, cuts: Iterable[int]) -> Mapping[int, Sequence[Tensor]]:
        """The states at cuts of a claimed run."""

    @property
    def bond(self) -> int:
        return self.context.reader.prover_bond

    def decide(self, view: ChainView) -> Iterable[Action]:
        """See prover.decide; without requests while there is no ether for another bond."""
        open_claims = [claim for claim in view.claims if claim.prover == self.address and claim.is_open]
        self._under_way = sum(max(1, claim.open_disputes) for claim in open_claims)
        self._publish_rest()
        yield from self._withdrawals(view.block)
        for action in prover.decide(view, self.address, self.bundle.model_id, self.minimum_fee):
            if isinstance(action, actions.Serve) and not self._may_bond():
                return  # the moves before it, which all are, need no bond
            yield action

    def perform(self, action: Action) -> Done | None:
        match action:
            case actions.Finalise(claim):
                return self._finalise(claim)
            case actions.Answer(dispute):
                return self._answer(dispute)
            case actions.Defend(dispute):
                return self._defend(dispute)
            case actions.Weigh(dispute):
                return sums.weighed(self, self.bundle, dispute, self._before(dispute))
            case _:
                return self.upkeep(action)

    def view(self) -> ChainView:
        return self.context.reader.view({self.bundle.model_id})

    def _send_claim(
        self, request_id: bytes, inputs: Sequence[bytes], outputs: Sequence[bytes], root: bytes
    ) -> tuple[Sent, bytes]:
        """Claim a run by its commitments, under this prover's bond; the claim's id is empty where another was first.

        root: over the checkpoints of a run of several steps, zeros else. Raises ChainError where the account has too
        little ether for another claim by now.
        """
        if (shortage := self._shortage()) is not None:
            raise ChainError(shortage)
        claims = self.context.contracts.claims
        sent = self.context.send(
            claims.functions.claim(self.bundle.model_id, request_id, list(inputs), list(outputs), root),
            value=self.bond,
            already=("RequestNotOpen", "DuplicateClaim"),
        )
        if sent.receipt is None:
            return sent, b""
        self._under_way += 1
        (event,) = claims.events.Claimed().process_receipt(sent.receipt, errors=DISCARD)
        return sent, event["args"]["claimId"]

    def _claimed(self, claim_id: bytes) -> str:
        """What came of a claim, for people."""
        if claim_id:
            return f"claimed {short(claim_id)}"
        return f"did not claim: another {self.name} or claim was first"

    def _send_states(
        self, dispute: DisputeView, states: Sequence[Sequence[bytes]], paths: Sequence[Sequence[bytes]] = ()
    ) -> Sent:
        """Reveal states by their commitments, and the paths of checkpoints under the claim's root."""
        call = self.context.contracts.game.functions.reveal(
            dispute.dispute_id, dispute.lo, dispute.hi, list(states), list(paths)
        )
        return self.context.send(call, already=OVER)

    def _published(self, tensor: Tensor, publish: Publish) -> bytes:
        """Publish a tensor that is revealed; returns its commitment. A store that takes nothing costs no turn: the
        tensor is published at a later look, and what is demanded meanwhile is answered on chain."""
        if not self._unpublished:
            try:
                return publish(tensor)
            except StoreError as error:
                self._put_off_publishing(error)
        self._unpublished.append((publish, tensor))
        return commit(tensor)

    def _publish_rest(self) -> None:
        while self._unpublished:
            publish, tensor = self._unpublished[0]
            try:
                publish(tensor)
            except StoreError as error:
                self._put_off_publishing(error)
                return
            del self._unpublished[0]
        self.context.journal.solved("publish")

    def _put_off_publishing(self, error: StoreError) -> None:
        self.context.journal.problem(
            self.name, "publish", f"{sentence(error)}; what was revealed is stored later"
        )

    def _finalise(self, claim: ClaimView) -> Done | None:
        start = time.monotonic()
        call = self.context.contracts.claims.functions.finalise(claim.claim_id)
        sent = self.context.send(call, already=("NotFinalisable",))
        if sent.already:
            return None
        what = f"finalised claim {short(claim.claim_id)}: bond and fee are credited"
        return self.done("finalise", what, start, sent, claim="0x" + claim.claim_id.hex())

    def _answer(self, dispute: DisputeView) -> Done | None:
        start = time.monotonic()
        demand = dispute.demand
        kind = TensorType.unpack(demand.tensor_type)
        opening = TensorTree(self._tensor(dispute, demand.commitment, kind)).open_chunk(demand.chunk)
        sent = self.context.send(
            self.context.contracts.game.functions.answer(
                dispute.dispute_id,
                demand.commitment,
                demand.tensor_type,
                demand.chunk,
                opening.data,
                list(opening.path),
            ),
            already=(*OVER, "DemandMismatch"),
        )
        what = f"opened chunk {demand.chunk} of 0x{demand.commitment.hex()[:8]} as demanded"
        return self.done("answer", what, start, sent, chunk=demand.chunk, **dispute_facts(dispute))

    def _defend(self, dispute: DisputeView) -> Done | None:
        start = time.monotonic()
        game = self.context.contracts.game.functions
        call = game.escalate(dispute.dispute_id, dispute.lo, dispute.hi)
        sent = self.context.send(call, already=OVER)
        what = f"put operator {dispute.node}, of which it was accused, to the committee"
        return self.done("defend", what, start, sent, **dispute_facts(dispute))

    def _before(self, dispute: DisputeView) -> Sequence[Tensor]:
        """The state before the disputed operator, what that reads as it was revealed, bit for bit: from the store, as
        computing it may take long, and this device may have other kernels by now."""
        graph, node, committed = self.bundle.graph, dispute.node, dispute.states[dispute.lo]
        try:
            return fetch_read(self.context.store, graph, node, node + 1, committed)
        except StoreError:
            pass  # missing, or not what it should be: computed once more
        read = {operand.value for operand in graph.nodes[node].operands}
        own = self._states(dispute.claim, (dispute.lo,))[dispute.lo]
        return [
            self._tensor(dispute, commitment, graph.types[value])
            if value in read and commit(tensor) != commitment
            else tensor
            for value, tensor, commitment in zip(graph.live(node), own, committed, strict=True)
        ]

    def _tensor(self, dispute: DisputeView, commitment: bytes, kind: TensorType) -> Tensor:
        """A tensor at either end of the disputed operator."""
        try:
            return self.context.store.get_tensor(commitment, kind)
        except StoreError:
            pass  # missing, or not what it should be: computed once more
        states = self._states(dispute.claim, (dispute.lo, dispute.hi))
        for tensor in (*states[dispute.lo], *states[dispute.hi]):
            if commit(tensor) == commitment:
                return tensor
        raise ModelError(
            f"the demanded tensor 0x{commitment.hex()} is not what this prover computes any more"
        )
