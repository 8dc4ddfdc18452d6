"""What an adversary reaches inside every operator's acceptance region, and what natural cheats meet.

The adversary may replace every operator's output by any other that the verifier accepts there, all operators
at once, and wants another prediction. Regions: the sound worst-case bound, the probabilistic bound, the
calibrated percentile profile, the bound and the profile together, and these with the calibrated drift of
segments, which is what is deployed. Beside each stands how often it rejects honest operators of kernels that
were not calibrated on: a region that nobody gets through is no use if honest provers do not either.
"""

import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.attack.cheats import Cheat, cheats, judge
from benchmarks.attack.diffusion import diffusion
from benchmarks.attack.honesty import count_rejections, honest_drift
from benchmarks.attack.regions import Region
from benchmarks.attack.search import Outcome, Search, margins
from benchmarks.attack.subjects import Subject, characters, digits, embeddings, neighbours, sentences
from tao.execution import Executor
from tao.numerics.calibrate import calibrate
from tao.numerics.process import VariantProcess, processes
from tao.numerics.profile import Profile
from tao.numerics.variants import available
from tao.tensors.store import TensorStore

SUBJECTS = (digits, characters, sentences, neighbours, embeddings, diffusion)
CALIBRATED = ("native", "aten-default", "onednn-off", "mkl-compatible", "baseline", "composed")
LEFT_OUT = ("split-2", "split-4", "avx2")
SAFETY = (1.0, 2.0, 5.0, 10.0)
"""Other safety factors that the profiles of thoroughly attacked models are tried with."""
SIZES = (1e-8, 1e-7, 3e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
SHARES = (0.01, 0.1, 0.5)
BOUNDARY_DECADES = (1, 5)
"""Decades of honest drift over which the margins of blended samples are spread: dense where the deployed region
should end, and as far as the loosest reaches."""
MARGIN_BINS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
"""Margins over honest drift by which the success rate is told apart."""

Progress = Callable[[str], None]


def regions(profile: Profile) -> list[Region]:
    """The acceptance regions compared."""
    return [
        Region("worst-case", "deterministic"),
        Region("probabilistic", "probabilistic"),
        Region("empirical", None, profile),
        Region("deployed", "deterministic", profile, segments=True),
    ]


def near_the_boundary(subject: Subject, drift: float) -> list[tuple[Tensor, ...]]:
    """Claims of blended samples; none where inputs are no numbers to blend."""
    if not all(x.is_floating_point() for x in subject.attacked[0]):
        return []
    claims = zip(subject.attacked, BOUNDARY_DECADES, strict=True)
    return [_at_the_boundary(subject, claim, drift, decades) for claim, decades in claims]


def _at_the_boundary(
    subject: Subject, claim: tuple[Tensor, ...], drift: float, decades: int
) -> tuple[Tensor, ...]:
    """A claim of blends of two samples each, with margins from 1 to 10^decades times the honest drift.

    Bisects between a sample and one of another class; the executor's batch is one probe of all.
    """
    (images,) = claim
    executor = Executor(subject.bundle.graph, subject.bundle.parameters)

    def logits(x: Tensor) -> Tensor:
        return subject.logits(executor.run((x,)))

    label = logits(images).argmax(1)
    other = torch.stack([(label != own).nonzero()[0, 0] if (label != own).any() else own for own in label])
    low, high = torch.zeros(len(images)), torch.ones(len(images))
    wanted = drift * torch.logspace(0, decades, len(images), dtype=torch.float64)

    def blend(share: Tensor) -> Tensor:
        share = share.view(-1, 1, 1, 1)
        return (1 - share) * images + share * images[other]

    for _ in range(40):
        middle = (low + high) / 2
        enough = margins(logits(blend(middle)), label) > wanted
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return (blend(low),)


def _share(flags: Tensor) -> float | None:
    return float(flags.double().mean()) if flags.numel() else None


def _by_margin(margin: Tensor, flipped: Tensor) -> list[dict]:
    """Success by the margin over the honest drift."""
    edges = (0.0, *MARGIN_BINS, float("inf"))
    found = []
    for low, high in zip(edges, edges[1:], strict=False):
        inside = (margin >= low) & (margin < high)
        if inside.any():
            upper = None if high == float("inf") else high
            counts = {"samples": int(inside.sum()), "flipped": int(flipped[inside].sum())}
            found.append({"from": low, "to": upper, **counts})
    return found


def attack(
    subject: Subject,
    region: Region,
    claims: Sequence[tuple[Tensor, ...]],
    drift: float,
    targeted: bool,
) -> dict:
    """One row of the table: every sample of the claims under attack."""
    restarts = subject.restarts if subject.thorough or region.segments else 1
    found: list[Outcome] = [
        Search(subject.bundle, inputs, subject.logits, region, subject.steps, restarts, seed=100 * i).run(
            targeted
        )
        for i, inputs in enumerate(claims)
    ]
    clean, attacked = (torch.cat([getattr(o, name) for o in found]) for name in ("clean", "attacked"))
    flipped, reach, margin = attacked < 0, clean - attacked, clean / drift
    over_drift = (reach / drift).quantile(torch.tensor([0.5, 0.9, 1.0], dtype=torch.float64)).tolist()
    return {
        "model": subject.name,
        "region": region.name,
        "safety": None if region.profile is None else region.profile.safety,
        "targeted": targeted,
        "restarts": restarts,
        "samples": len(clean),
        "success_rate": _share(flipped),
        "samples_beyond_3x_drift": int((margin > 3).sum()),
        "success_rate_beyond_3x_drift": _share(flipped[margin > 3]),
        "margin_consumed_median": float((reach / clean).median()),
        "reach_median": float(reach.median()),
        "reach_over_drift": dict(zip(("p50", "p90", "max"), over_drift, strict=True)),
        "success_by_margin_over_drift": _by_margin(margin, flipped),
        "largest_excess": max(o.excess for o in found),
    }


def _rates(counts: Sequence[dict[str, tuple[int, int]]]) -> dict[str, dict]:
    totals = {name: [sum(c[name][i] for c in counts) for i in (0, 1)] for name in counts[0]}
    return {
        name: {
            "honest_rejected": bad / judged,
            "honest_rejected_operators": bad,
            "honest_operators": judged,
        }
        for name, (bad, judged) in totals.items()
    }


def attack_all(
    subject: Subject, workers: Sequence[VariantProcess], drift: float, progress: Progress
) -> list[dict]:
    """Every region and goal on one model, with its honesty beside it."""
    profile = subject.bundle.profile
    assert profile is not None
    judged = regions(profile)
    factors = SAFETY if subject.thorough else ()
    others = [Region("without segments", "deterministic", profile)]
    others += [Region(f"empirical x{factor:g}", None, replace(profile, safety=factor)) for factor in factors]
    rates = _rates([count_rejections(subject.bundle, judged + others, workers, x) for x in subject.honest])
    near = near_the_boundary(subject, drift)
    cases = []
    for region in judged + others:
        for targeted in (True,) if region in others else (True, False):
            for name, claims in (("natural", subject.attacked), ("near the boundary", near)):
                if claims:
                    case = attack(subject, region, claims, drift, targeted)
                    cases.append(case | {"inputs": name, "honest_drift": drift} | rates[region.name])
            goal = "targeted" if targeted else "untargeted"
            progress(
                f"{subject.name}, {region.name}, {goal}: {cases[-1]['success_rate']:.1%} of "
                f"{cases[-1]['samples']} flipped, {cases[-1]['honest_rejected']:.2%} of honest runs rejected"
            )
    return cases


def judge_cheat(subject: Subject, cheat: Cheat, claims: Sequence[tuple[Tensor, ...]]) -> dict:
    """The detection rate of one cheat, and by what."""
    verdicts = [judge(subject, cheat, inputs) for inputs in claims]
    routes = Counter(v.route for v in verdicts if v.route is not None)
    return {
        "model": subject.name,
        "cheat": cheat.name,
        "size": cheat.size,
        "claims": len(verdicts),
        "detection_rate": sum(routes.values()) / len(verdicts),
        "route": routes.most_common(1)[0][0] if routes else None,
        "routes": dict(routes),
        "drift_ratio_median": statistics.median(v.drift_ratio for v in verdicts),
        "predictions_changed": statistics.mean(v.predictions_changed for v in verdicts),
    }


def measure(progress: Progress) -> dict:
    """The attack table and the cheats on all models."""
    cases: list[dict] = []
    cheating: list[dict] = []
    models: dict[str, dict] = {}
    calibrated = [name for name in CALIBRATED if name in available()]
    left_out = [name for name in LEFT_OUT if name in available()]
    for make in SUBJECTS:
        subject = make()
        progress(f"{subject.name}: ready, {len(subject.bundle.graph)} operators")
        with tempfile.TemporaryDirectory() as folder:
            if subject.bundle.profile is None:
                profile = calibrate(subject.bundle, subject.calibration, calibrated, folder)
                subject = replace(subject, bundle=replace(subject.bundle, profile=profile))
            store = TensorStore(folder)
            with processes([*calibrated, *left_out], subject.bundle, store) as workers:
                drift = honest_drift(workers, [*subject.attacked, *subject.honest], subject.logits)
            progress(f"{subject.name}: honest drift of the margin {drift:.3g}")
            with processes(["native", *left_out], subject.bundle, store) as workers:
                cases += attack_all(subject, workers, drift, progress)
        sizes, shares = (SIZES, SHARES) if subject.thorough else (SIZES[1:6], SHARES[:1])
        for cheat in cheats(subject, sizes, shares):
            cheating.append(judge_cheat(subject, cheat, subject.attacked))
        progress(f"{subject.name}: {len(cheating)} cheats judged so far")
        models[subject.name] = {
            "operators": len(subject.bundle.graph),
            "samples_per_claim": len(subject.attacked[0][0]),
            "calibrated_on": [device.name for device in subject.bundle.profile.devices],
            "calibration_claims": subject.bundle.profile.samples,
            "left_out": left_out,
            "attack_steps": subject.steps,
            **subject.facts,
        }
    return {"cases": cases, "cheats": cheating, "models": models}
