"""The client and the model owner: register a model, ask for a run, read the result or take the request back."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from web3.logs import DISCARD

from tao.chain.reverts import Refused
from tao.errors import ChainError, ModelError
from tao.model import CommittedModel, ModelBundle, ModelOutline
from tao.protocol.views import ClaimView, RequestView, Status
from tao.roles.admission import require_calibrated, require_segments, require_short_reveals
from tao.roles.context import Context
from tao.roles.journal import Done
from tao.roles.role import short
from tao.tensors import TensorType


@dataclass(frozen=True)
class Result:
    """What became of a request. claim: the one that serves it, if any. refuted: those that did."""

    request: RequestView
    claim: ClaimView | None
    refuted: tuple[ClaimView, ...]


def register(context: Context, bundle: ModelBundle) -> Done:
    """Store the bundle and register its commitments; counts as done where the model is registered already, of which
    what the store has lost is put back.

    Raises ModelError where it has no tolerance profile, or one for disputes with another fan-out, or more values
    live at once than can be revealed.
    """
    start = time.monotonic()
    require_calibrated(bundle)
    require_segments(bundle, context.reader.fan_out)
    require_short_reveals(bundle, context.reader.fan_out)
    with context.journal.display.work("storing the model"):
        bundle.save(context.store)
    call = context.contracts.models.functions.register(bundle.commitment, context.store.url)
    sent = context.send(call, already=("AlreadyRegistered",))
    model = "0x" + bundle.model_id.hex()
    what = f"model {model} is registered already" if sent.already else f"registered model {model}"
    return _report(context, "register", what, start, sent, model=model)


def load_model(context: Context, model_id: bytes) -> ModelBundle:
    """A registered model's bundle from the store; raises ChainError where it is not registered."""
    require_registered(context, model_id)
    return ModelBundle.load(context.store, model_id)


def load_outline(context: Context, model_id: bytes) -> ModelOutline:
    """What a request needs of a registered model; raises as `load_model`, and fetches no parameter."""
    require_registered(context, model_id)
    return ModelOutline.load(context.store, model_id)


def require_registered(context: Context, model_id: bytes) -> None:
    """Raises ChainError where the deployment does not know the model."""
    if not context.contracts.models.functions.isRegistered(model_id).call():
        known = ", ".join("0x" + known.hex() for known in context.reader.models()) or "none"
        raise ChainError(
            f"the model 0x{model_id.hex()} is not registered on this deployment; registered are: {known}"
        )


def request(context: Context, model: CommittedModel, inputs: Sequence[Tensor], fee: int) -> Done:
    """Store the inputs and ask for one run under `fee` wei; `details["request"]` is the request's id.

    Raises ModelError, before anything is sent, for inputs that are not the model's: nobody could serve them.
    """
    start = time.monotonic()
    _require_inputs(model, inputs)
    commitments = [context.store.put_tensor(tensor) for tensor in inputs]
    claims = context.contracts.claims
    sent = context.send(
        claims.functions.request(model.model_id, commitments, secrets.randbits(256)), value=fee
    )
    (event,) = claims.events.RequestPosted().process_receipt(sent.receipt, errors=DISCARD)
    request_id = event["args"]["requestId"]
    what = f"posted request {short(request_id)} for model {short(model.model_id)}"
    return _report(context, "request", what, start, sent, request="0x" + request_id.hex(), fee=fee)


def read(context: Context, request_id: bytes) -> Result:
    """The request and its claims; `output` fetches what the claim says."""
    view = context.reader.view(most_requests=None)
    found = next((request for request in view.requests if request.request_id == request_id), None)
    if found is None:
        raise ChainError(f"the request 0x{request_id.hex()} is not known to this deployment")
    claim = next((claim for claim in view.claims if claim.claim_id == found.active_claim), None)
    claims = [claim for claim in view.claims if claim.request_id == request_id]
    return Result(found, claim, tuple(claim for claim in claims if claim.status is Status.REFUTED))


def output(context: Context, claim: ClaimView, slot: int) -> Tensor:
    """One claimed output from the store, which checks it; raises StoreError where it cannot be had."""
    return context.store.get_tensor(claim.outputs[slot])


def cancel(context: Context, request_id: bytes) -> Done:
    """Take back a request that no claim serves; its fee becomes the account's credit in the vault.

    Raises ChainError where it is another's, unknown, served or cancelled already.
    """
    start = time.monotonic()
    try:
        sent = context.send(context.contracts.claims.functions.cancel(request_id))
    except Refused as refused:
        if refused.error != "RequestNotOpen":
            raise
        raise ChainError(f"the request {short(request_id)} {_standing(context, request_id)}") from refused
    what = f"cancelled request {short(request_id)}; `tao withdraw` pays its fee out"
    return _report(context, "cancel", what, start, sent, request="0x" + request_id.hex())


def _standing(context: Context, request_id: bytes) -> str:
    """Why a request is not open."""
    claim = read(context, request_id).claim
    if claim is None:
        return "was cancelled before"
    return f"is served by claim {short(claim.claim_id)}, which is {claim.status.name.lower()}"


def withdraw(context: Context) -> Done:
    """Pull the account's whole credit from the vault."""
    start = time.monotonic()
    vault = context.contracts.vault.functions
    amount = vault.creditOf(context.address).call()
    sent = context.send(vault.withdraw(context.address), already=("NothingToWithdraw",))
    what = (
        "had nothing to withdraw" if sent.already else f"withdrew {context.w3.from_wei(amount, 'ether')} ETH"
    )
    return _report(context, "withdraw", what, start, sent, amount=amount)


def _require_inputs(model: CommittedModel, inputs: Sequence[Tensor]) -> None:
    types = model.graph.types[: model.graph.input_count]
    if len(inputs) != len(types):
        raise ModelError(f"{len(inputs)} inputs are given and the model takes {len(types)}")
    for index, (tensor, expected) in enumerate(zip(inputs, types, strict=True)):
        if (found := TensorType.of(tensor)) != expected:
            raise ModelError(
                f"input {index} must be {expected}, but is {found}; the model is registered for these shapes"
            )
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise ModelError(f"input {index} is not a number somewhere; nobody would claim what comes of it")


def _report(context, action, what, start, sent, **details) -> Done:
    done = Done("client", context.address, action, what, time.monotonic() - start, sent, details)
    context.journal.done(done)
    return done
