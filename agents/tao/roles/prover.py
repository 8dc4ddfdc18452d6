"""The prover: runs the model with unmodified kernels, claims, and defends its claims."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from tao.errors import ModelError, NoResult
from tao.execution import Executor, capture
from tao.model import ModelBundle
from tao.protocol import actions
from tao.protocol.actions import Action
from tao.protocol.views import ChainView, ClaimView, DisputeView, Phase, RequestView, Status
from tao.roles.admission import require_calibrated, require_inference
from tao.roles.context import Context
from tao.roles.defender import Defender
from tao.roles.journal import Done
from tao.roles.role import dispute_facts, short
from tao.roles.states import fetch
from tao.tensors import TensorType, commit
from tao.tensors.store import TensorStore

States = dict[int, tuple[Tensor, ...]]

MOST_THREADS = 16
"""Up to which every number is tried, where another process's bits are sought."""


class Behaviour(Protocol):
    """How a prover computes. Tests and demonstrations plug in one that cheats.

    stands_by: whether a value that was revealed is revealed again as it was, whatever a run gives now.
    """

    stands_by: bool

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs to claim."""

    def capture(self, inputs: Sequence[Tensor], cuts: Iterable[int]) -> States:
        """The values live at each of `cuts`, consistent with what was claimed."""

    def publish(self, store: TensorStore, tensor: Tensor) -> bytes:
        """Make a tensor available and return its commitment."""


class Honest:
    """Runs the model as it is."""

    stands_by = True

    def __init__(self, bundle: ModelBundle):
        self._bundle = bundle
        self._executor = Executor(bundle.graph, bundle.parameters)

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One plain run; nothing is captured."""
        return tuple(self._executor.run(inputs))

    def capture(self, inputs: Sequence[Tensor], cuts: Iterable[int]) -> States:
        """One run that keeps the states at `cuts`."""
        return capture(self._bundle.graph, self._bundle.parameters, inputs, list(cuts))

    def publish(self, store: TensorStore, tensor: Tensor) -> bytes:
        """Put the tensor into the store."""
        return store.put_tensor(tensor)


class ProverRole(Defender):
    """Serves requests for one model that pay `minimum_fee` wei or more, and defends this account's claims."""

    name = "prover"

    def __init__(
        self, context: Context, bundle: ModelBundle, behaviour: Behaviour | None = None, minimum_fee: int = 0
    ):
        require_inference(bundle)
        require_calibrated(bundle)
        super().__init__(context, bundle, minimum_fee)
        self._behaviour = behaviour or Honest(bundle)
        self._captured: dict[bytes, States] = {}  # by claim: the states of its disputes so far
        self._inputs: dict[
            bytes, Sequence[Tensor]
        ] = {}  # by claim that may be disputed: nobody can withdraw them

    def decide(self, view: ChainView) -> Iterable[Action]:
        running = {d.claim.claim_id for d in view.disputes if d.phase is not Phase.CLOSED}
        self._captured = {claim: held for claim, held in self._captured.items() if claim in running}
        over = {c.claim_id for c in view.claims if c.status in (Status.FINALISED, Status.REFUTED)}
        self._inputs = {claim: held for claim, held in self._inputs.items() if claim not in over}
        return super().decide(view)

    def perform(self, action: Action) -> Done | None:
        match action:
            case actions.Serve(request):
                inputs = fetch(self.context.store, self.bundle.graph, 0, request.inputs)
                return self.claim(inputs, request)
            case actions.Reveal(dispute, cuts):
                return self._reveal(dispute, cuts)
            case _:
                return super().perform(action)

    def claim(self, inputs: Sequence[Tensor], request: RequestView | None = None) -> Done:
        """Run the model on `inputs` and claim its outputs, for `request` or for nobody in particular.

        Raises ModelError where the inputs do not fit the model or an output is not a number; claims nothing
        then.
        """
        start = time.monotonic()
        asked = f" of request {short(request.request_id)}" if request else ""
        self._require_types(inputs)
        try:
            outputs = self._behaviour.run(inputs)
        except NoResult as error:
            raise ModelError(f"the model has no result on the inputs{asked}: {error}") from error
        computed = time.monotonic()
        for slot, output in enumerate(outputs):
            if output.is_floating_point() and bool(output.isnan().any()):
                raise ModelError(
                    f"output {slot} of the run{asked} is not a number somewhere; it is not claimed"
                )
        store, request_id = self.context.store, request.request_id if request else bytes(32)
        input_commitments = [store.put_tensor(tensor) for tensor in inputs]
        output_commitments = [self._behaviour.publish(store, tensor) for tensor in outputs]
        sent, claim_id = self._send_claim(request_id, input_commitments, output_commitments, bytes(32))
        if claim_id:
            self._inputs[claim_id] = inputs
        return self.done(
            "claim",
            self._claimed(claim_id),
            start,
            sent,
            claim="0x" + claim_id.hex(),
            request="0x" + request_id.hex(),
            run_seconds=round(computed - start, 4),
        )

    def _reveal(self, dispute: DisputeView, cuts: Sequence[int]) -> Done | None:
        start = time.monotonic()
        states = self._states(dispute.claim, cuts)
        computed = time.monotonic()
        store = self.context.store
        written = store.bytes_written
        publish = partial(self._behaviour.publish, store)
        known = self._revealed(dispute) if self._behaviour.stands_by else {}
        commitments = [
            [
                known.get(value) or self._published(tensor, publish)
                for value, tensor in zip(self.bundle.graph.live(cut), states[cut], strict=True)
            ]
            for cut in cuts
        ]
        sent = self._send_states(dispute, commitments)
        return self.done(
            "reveal",
            f"revealed {len(cuts)} states of operators {dispute.lo} to {dispute.hi - 1}",
            start,
            sent,
            capture_seconds=round(computed - start, 4),
            bytes_stored=store.bytes_written - written,
            **dispute_facts(dispute),
        )

    def _revealed(self, dispute: DisputeView) -> dict[int, bytes]:
        """The commitments at the ends of the disputed segment, by value. A value that passes through a segment is the
        same at every cut, so that one bit of another kernel between two reveals would be a proof against both."""
        graph = self.bundle.graph
        ends = (dispute.lo, dispute.hi)
        return {
            value: commitment
            for cut in ends
            for value, commitment in zip(graph.live(cut), dispute.states[cut], strict=True)
        }

    def _states(self, claim: ClaimView, cuts: Iterable[int]) -> States:
        """The states at `cuts`, captured in one run where they are not at hand."""
        held = self._captured.setdefault(claim.claim_id, {})
        missing = [cut for cut in cuts if cut not in held]
        if missing:
            if claim.claim_id not in self._inputs:
                inputs = fetch(self.context.store, self.bundle.graph, 0, claim.inputs)
                self._compute_alike(claim, inputs)
                self._inputs[claim.claim_id] = inputs
            held |= self._behaviour.capture(self._inputs[claim.claim_id], missing)
        return held

    def _compute_alike(self, claim: ClaimView, inputs: Sequence[Tensor]) -> None:
        """Let this process compute the bits of another one's claim: since then the machine may have given torch another
        number of threads, which orders sums otherwise."""
        given = torch.get_num_threads()
        for threads in _thread_counts(given):
            torch.set_num_threads(threads)
            if tuple(map(commit, self._behaviour.run(inputs))) == claim.outputs:
                return
        torch.set_num_threads(given)
        self.context.journal.problem(
            self.name,
            f"compute {short(claim.claim_id)}",
            f"claim {short(claim.claim_id)} has other bits than this process computes with any number of threads; "
            "end it, and start it with the --variant, the torch and the processor that made the claim",
        )

    def _require_types(self, inputs: Sequence[Tensor]) -> None:
        expected = [self.bundle.graph.types[value] for value in self.bundle.graph.live(0)]
        given = [TensorType.of(tensor) for tensor in inputs]
        if given != expected:
            raise ModelError(f"the inputs are {given} and the model takes {expected}")


def _thread_counts(first: int) -> Iterator[int]:
    """The numbers of threads that torch may have had on this machine, likely ones before others."""
    cores = os.cpu_count() or 1
    yield from dict.fromkeys((first, cores, cores // 2 or 1, *range(1, min(cores, MOST_THREADS) + 1)))
