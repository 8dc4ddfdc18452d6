"""The calibrated constant theta: what it catches that the worst-case bound lets pass, and whom it accuses.

Contractions of 64 x 64 outputs over many lanes. Honest kernels on ordinary data give theta, times the safety
factor. Then: what share of outputs that save work (int8 weights, bfloat16 and TF32 inputs) the worst-case
bound refutes and what share is beyond theta, proven to the contract. Last: honest kernels on inputs made to
take them beyond theta, and what a committee's member finds when such a prover must defend itself, by the
calibrated percentiles alone and by its whole rule, which lets stand what is within twice the worst of its own
schedules on the very inputs. One of the provers' schedules is none of the members'.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain, combinations, product

import torch
from torch import Tensor, nn
from web3 import Web3

from benchmarks.substitutions import int8, tf32
from tao.chain.build import load_build
from tao.chain.local import local_chain
from tao.chain.rpc import connect
from tao.model import ModelBundle, trace
from tao.numerics.contraction import excess, theta_statistic
from tao.numerics.dot import THETA_ONE, accusable, window_exponent
from tao.numerics.float32 import float_bits
from tao.numerics.measure import measure as measure_operator
from tao.numerics.process import processes
from tao.numerics.profile import Device, NodeTolerance, Profile
from tao.numerics.schedules import SCHEDULE_TOLERANCE, over_schedules
from tao.numerics.settings import SAFETY
from tao.numerics.statistics import GRID, deviation_statistics
from tao.numerics.variants import available
from tao.proofs import element_proof, find_accusable_element, leaf_claim
from tao.tensors.store import TensorStore
from tao.tensors.tree import commit

LANES = (4096, 14336)
SIZE = 64
"""Rows of inputs, and outputs of a row."""
VARIANTS = ("native", "baseline", "split-4")
HELD_OUT = ("avx2", "composed")
CALIBRATED, JUDGED = 2, 2
"""Matrices of each kind of data."""
SAMPLE = 16
"""Outputs of a matrix of which the proof is tried."""
SEED = 29


# ---- data ----


def gaussian(rows: int, lanes: int) -> Tensor:
    return torch.randn(rows, lanes)


def rectified(rows: int, lanes: int) -> Tensor:
    return torch.randn(rows, lanes).relu()


def outliers(rows: int, lanes: int) -> Tensor:
    """A few channels are 30 times as large as the others, as in language models."""
    scale = torch.ones(lanes)
    scale[torch.randperm(lanes)[: lanes // 512]] = 30.0
    return torch.randn(rows, lanes) * scale


ORDINARY: dict[str, Callable[[int, int], Tensor]] = {
    "gaussian": gaussian, "rectified": rectified, "outliers": outliers
}  # fmt: skip


def one_sided(lanes: int) -> tuple[Tensor, Tensor]:
    """All products of one sign: partial sums grow, and with them each rounding."""
    return torch.rand(SIZE, lanes) / 2 + 0.5, (torch.rand(SIZE, lanes) / 2 + 0.5) / math.sqrt(lanes)


def swallowed(lanes: int) -> tuple[Tensor, Tensor]:
    """A huge first product, each further one just below half a unit in the last place of it."""
    scale = 2.0 ** -(lanes.bit_length() // 2)
    a, b = torch.rand(SIZE, lanes) * 0.01 + 0.985, torch.full((SIZE, lanes), scale)
    a[:, 0], b[:, 0] = 2.0**12, 2.0**12 * scale
    return a, b


def biased(lanes: int) -> tuple[Tensor, Tensor]:
    """Equal products, of which each loses nearly half a unit in the last place of the large partial sums."""
    unit = 2.0 ** ((lanes - 1).bit_length() - 1 - 23)
    scale = 2.0 ** -(lanes.bit_length() // 2)
    return torch.full((SIZE, lanes), 1 + 0.49 * unit), torch.full((SIZE, lanes), scale)


ADVERSARIAL: dict[str, Callable[[int], tuple[Tensor, Tensor]]] = {
    "one-sided": one_sided, "swallowed": swallowed, "biased": biased
}  # fmt: skip


# ---- honest schedules beside the libraries' ----


def sequential(a: Tensor, b: Tensor) -> Tensor:
    total = torch.zeros(len(a), len(b))
    for x, y in zip(a.T, b.T, strict=True):
        total += x[:, None] * y
    return total


def interleaved(a: Tensor, b: Tensor, parts: int = 8) -> Tensor:
    """Accumulators that take every `parts`-th lane, as vector units do."""
    return sum(sequential(a[:, i::parts], b[:, i::parts]) for i in range(parts))


def pairwise(a: Tensor, b: Tensor) -> Tensor:
    rows = []
    for row in a:
        terms = row * b
        while terms.shape[-1] > 1:
            terms = nn.functional.pad(terms, (0, terms.shape[-1] % 2))
            terms = terms[:, ::2] + terms[:, 1::2]
        rows.append(terms[:, 0])
    return torch.stack(rows)


def blocked(a: Tensor, b: Tensor, size: int = 64) -> Tensor:
    """Blocks of neighbouring lanes, one after another."""
    return sum(sequential(x, y) for x, y in zip(a.split(size, 1), b.split(size, 1), strict=True))


def matmul(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.T


SCHEDULES = {f.__name__: f for f in (matmul, sequential, interleaved, pairwise, blocked)}


# ---- substitutions ----


SUBSTITUTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "int8_weights": lambda a, b: a @ int8(b).T,
    "bf16_inputs": lambda a, b: a.bfloat16().float() @ b.bfloat16().float().T,
    "tf32_inputs": lambda a, b: tf32(a) @ tf32(b).T,
}


# ---- the contract ----


class Adjudicator:
    """ContractionAdjudicator on a local chain."""

    def __init__(self, w3: Web3) -> None:
        self.w3 = w3
        built = load_build()["ContractionAdjudicator"]
        factory = w3.eth.contract(abi=built.abi, bytecode=built.creation)
        deployed = w3.eth.wait_for_transaction_receipt(factory.constructor().transact(self._sender))
        self.contract = w3.eth.contract(deployed["contractAddress"], abi=built.abi)

    @property
    def _sender(self) -> dict:
        return {"from": self.w3.eth.accounts[0]}

    def exceeds(
        self, bundle: ModelBundle, x: Tensor, y: Tensor, element: int, theta: int
    ) -> tuple[bool, int, int]:
        """The verdicts of `exceeds`, and the gas of a transaction with it and of one with `refutes`."""
        claim = leaf_claim(bundle, 0, [commit(x)], [commit(y)])
        leaf = {name: claim[name] for name in ("record", "stateBefore", "outputs")}
        leaf |= {"weightsRoot": bundle.weights_root, "parameterCount": len(bundle.parameters)}
        proof = element_proof(bundle, 0, (x,), (y,), element)
        functions = self.contract.functions
        exceeds, refutes = functions.exceeds(leaf, proof, theta), functions.refutes(leaf, proof)
        return bool(exceeds.call(self._sender)), self._gas(exceeds), self._gas(refutes)

    def _gas(self, call) -> int:
        sent = self.w3.eth.wait_for_transaction_receipt(call.transact({**self._sender, "gas": 16_000_000}))
        return sent["gasUsed"]


# ---- measurements ----


def linear(b: Tensor) -> nn.Module:
    module = nn.Linear(b.shape[1], b.shape[0], bias=False)
    module.weight.data = b
    return module


Outputs = dict[str, list[Tensor]]


def honest_outputs(bundle: ModelBundle, inputs: Sequence[Tensor], names: Sequence[str]) -> Outputs:
    """Every variant's and every schedule's outputs of the inputs."""
    (b,) = bundle.parameters
    with tempfile.TemporaryDirectory() as folder, processes(names, bundle, TensorStore(folder)) as workers:
        outputs = {each.name: [each.run((x,))[0] for x in inputs] for each in workers}
    return outputs | {name: [f(x, b) for x in inputs] for name, f in SCHEDULES.items() if name != "matmul"}


def statistics(inputs: Sequence[Tensor], b: Tensor, outputs: Outputs) -> dict[str, float]:
    """The largest theta statistic of every honest kernel."""
    return {
        name: max(float(theta_statistic(y, x, b).max()) for x, y in zip(inputs, each, strict=True))
        for name, each in outputs.items()
    }


def profile_of(bundle: ModelBundle, outputs: Outputs) -> Profile:
    """The thresholds that a calibration on these outputs gives."""
    pairs = chain.from_iterable(combinations(each, 2) for each in zip(*outputs.values(), strict=True))
    found = [deviation_statistics(x, y) for x, y in pairs]
    absolute, relative = (
        tuple(map(max, *(getattr(one, kind) for one in found))) for kind in ("absolute", "relative")
    )
    devices = tuple(Device(name, "") for name in outputs)
    nodes = (NodeTolerance(absolute, relative),)
    return Profile(bundle.graph_root, nodes, devices, samples=len(outputs[devices[0].name]), grid=GRID)


def provable(y: Tensor, a: Tensor, b: Tensor, theta: int) -> tuple[int, int]:
    """Of a sample of the outputs beyond 1.01 theta: how many, and how many the contract's mirror proves."""
    beyond = (
        (theta_statistic(y, a, b) > 1.01 * theta / THETA_ONE).nonzero().tolist()[:: SIZE * SIZE // SAMPLE]
    )
    proven = 0
    for row, column in beyond:
        x, z = float_bits(a[row]), float_bits(b[column])
        window = window_exponent(x, z)
        proven += accusable(float_bits(y[row, column])[0], x, z, None, window, theta)
    return len(beyond), proven


def substituted(bundle: ModelBundle, inputs: Sequence[Tensor], theta: int, contract: Adjudicator) -> dict:
    """By substitution: shares of outputs and matrices that the bound refutes and that are beyond theta."""
    (b,), found = bundle.parameters, {}
    for name, substitute in SUBSTITUTIONS.items():
        refuted, beyond, tried, proven, confirmed, gas = [], [], 0, 0, 0, (0, 0)
        for x in inputs:
            y = substitute(x, b)
            refuted.append(excess(y, x, b) > 1)
            beyond.append(theta_statistic(y, x, b) > theta / THETA_ONE)
            counts = provable(y, x, b, theta)
            tried, proven = tried + counts[0], proven + counts[1]
            element = find_accusable_element(bundle, 0, (x,), (y,), theta)
            if element is not None:
                verdict, *gas = contract.exceeds(bundle, x, y, element, theta)
                confirmed += verdict
        found[name] = {
            "outputs_refuted_by_gamma": float(torch.stack(refuted).double().mean()),
            "matrices_refuted_by_gamma": sum(bool(r.any()) for r in refuted) / len(inputs),
            "outputs_beyond_theta": float(torch.stack(beyond).double().mean()),
            "matrices_beyond_theta": sum(bool(r.any()) for r in beyond) / len(inputs),
            "matrices_the_contract_confirms": confirmed / len(inputs),
            "least_worst_statistic": min(
                float(theta_statistic(substitute(x, b), x, b).max()) for x in inputs
            ),
            "sampled_beyond_101_percent": tried,
            "sampled_proven": proven,
            "gas_exceeds": gas[0],
            "gas_refutes": gas[1],
        }
    return found


def adversarial(lanes: int, theta: int, calibrated: ModelBundle) -> dict:
    """By kind of inputs and honest schedule: the statistic, the proof, and what members make of the defence;
    the same of substitutions, which a member should not acquit. calibrated: a layer with its profile."""
    found, profile = {}, calibrated.profile
    for kind, make in ADVERSARIAL.items():
        a, b = make(lanes)
        member = ModelBundle(calibrated.graph, (b,), profile)
        outputs = {name: compute(a, b) for name, compute in (SCHEDULES | SUBSTITUTIONS).items()}
        ratios = {name: theta_statistic(y, a, b) for name, y in outputs.items()}
        for name, y in outputs.items():
            measured = measure_operator(member, 0, (a,), (y,))
            exceedance = profile.exceedance(0, measured.statistics)
            over = over_schedules(member.graph.nodes[0], [a, b], y, outputs["matmul"])
            found.setdefault(kind, {})[name] = {
                "honest": name in SCHEDULES,
                "statistic": float(ratios[name].max()),
                "accused": bool((ratios[name] > theta / THETA_ONE).any()),
                "refuted_by_gamma": bool((excess(y, a, b) > 1).any()),
                "exceedance_of_percentiles": exceedance,
                "accepted_by_percentiles": exceedance <= 1,
                "over_worst_schedule": over,
                "exceedance": measured.exceedance,
                "accepted": measured.exceedance <= 1,
            }
    return found


def study(lanes: int, contract: Adjudicator, progress: Callable[[str], None]) -> dict:
    """Everything at one number of lanes."""
    torch.manual_seed(SEED + lanes)
    names = [name for name in VARIANTS if name in available()]
    held_out = [name for name in HELD_OUT if name in available()]
    b = torch.randn(SIZE, lanes) / math.sqrt(lanes)
    drawn = {kind: [draw(SIZE, lanes) for _ in range(CALIBRATED + JUDGED)] for kind, draw in ORDINARY.items()}
    bundle = trace(linear(b), (drawn["gaussian"][0],))
    calibration = [x for each in drawn.values() for x in each[:CALIBRATED]]
    judged = [x for each in drawn.values() for x in each[CALIBRATED:]]
    outputs = honest_outputs(bundle, calibration + judged, [*names, *held_out])
    calibrated = {name: each[: len(calibration)] for name, each in outputs.items() if name not in held_out}
    unseen = {name: each[len(calibration) :] for name, each in outputs.items() if name not in names}
    honest = statistics(calibration, b, calibrated)
    theta = math.ceil(SAFETY * max(honest.values()) * THETA_ONE)
    progress(f"{lanes} lanes: honest kernels reach {max(honest.values()):.2f}, theta {theta / THETA_ONE:.2f}")
    unseen = statistics(judged, b, unseen)
    progress(f"{lanes} lanes: other kernels on other data reach {max(unseen.values()):.2f}")
    caught = substituted(bundle, judged, theta, contract)
    for name, each in caught.items():
        progress(
            f"{lanes} lanes, {name}: outputs refuted {each['outputs_refuted_by_gamma']:.3f}, beyond theta"
            f" {each['outputs_beyond_theta']:.3f}, gas {each['gas_exceeds']}"
        )
    profile = profile_of(bundle, calibrated)
    defended = adversarial(lanes, theta, ModelBundle(bundle.graph, bundle.parameters, profile))
    for (kind, each), name in product(defended.items(), (*SCHEDULES, *SUBSTITUTIONS)):
        one = each[name]
        progress(
            f"{lanes} lanes, {kind}, {name}: statistic {one['statistic']:.1f}, percentiles"
            f" {one['exceedance_of_percentiles']:.2f}, schedules {one['over_worst_schedule']:.2f},"
            f" {'accepted' if one['accepted'] else 'rejected'}"
        )
    return {
        "theta": theta / THETA_ONE,
        "theta_q16": theta,
        "honest_statistic": honest,
        "held_out_statistic": unseen,
        "held_out_beyond_theta": sum(value > theta / THETA_ONE for value in unseen.values()),
        "substitutions": caught,
        "adversarial_inputs": defended,
    }


def measure(progress: Callable[[str], None]) -> dict:
    """Both numbers of lanes."""
    with local_chain() as url:
        contract = Adjudicator(connect(url))
        studies = {f"lanes_{lanes}": study(lanes, contract, progress) for lanes in LANES}
    return {
        **studies,
        "outputs": [SIZE, SIZE],
        "kinds_of_data": list(ORDINARY),
        "matrices_calibrated": CALIBRATED * len(ORDINARY),
        "matrices_judged": JUDGED * len(ORDINARY),
        "variants_calibrated": [name for name in VARIANTS if name in available()],
        "variants_held_out": [name for name in HELD_OUT if name in available()],
        "schedules": list(SCHEDULES),
        "safety": SAFETY,
        "tolerated_of_schedules": SCHEDULE_TOLERANCE,
        "seed": SEED,
    }
