"""The roles that run on: prover, challenger, committee member, trainer, auditor.

Imports of torch and of what imports it stand in the functions, after `apply_variant` has chosen the kernels.
"""

import math
import signal
import time
from pathlib import Path

import click

from tao.commands.options import (
    INTERRUPTED,
    Settings,
    apply_variant,
    chain_options,
    grace_option,
    join_option,
    keep_option,
    leave_option,
    load_bundle,
    minimum_fee_option,
    model_option,
    models_option,
    role_options,
    state_option,
)


def watch(role, what: str, poll: float, once: bool) -> None:
    """Say what the role starts to do, and tick once, or until interrupted, by SIGINT or SIGTERM."""
    role.context.journal.done(role.done("start", what, time.monotonic()))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if once:
            role.tick(math.inf)
        else:
            role.run(poll)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # another one would interrupt the end
        role.context.journal.note(
            role.name, f"stopped; {role.remains}, and the same command goes on from there"
        )
        if once:
            raise SystemExit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def run_prover(
    settings: Settings, model_id: bytes, minimum_fee: int, poll: float, once: bool, variant: str | None
):
    """Serve requests for a model and defend the claims."""
    apply_variant(variant)
    from tao.roles.prover import ProverRole

    context = settings.context()
    role = ProverRole(context, load_bundle(context, model_id), minimum_fee=minimum_fee)
    watch(role, f"{role.address} serves 0x{model_id.hex()}", poll, once)


def run_challenger(settings: Settings, model_id: bytes, poll: float, once: bool, variant: str | None):
    """Re-execute the claims of a model and dispute the implausible ones."""
    apply_variant(variant)
    from tao.roles.challenger import ChallengerRole

    context = settings.context()
    role = ChallengerRole(context, load_bundle(context, model_id))
    watch(role, f"{role.address} watches 0x{model_id.hex()}", poll, once)


def run_trainer(
    settings: Settings,
    model_id: bytes,
    minimum_fee: int,
    keep_every: int,
    poll: float,
    once: bool,
    variant: str | None,
):
    """Record the training runs that are asked for, claim them and defend the claims."""
    apply_variant(variant)
    from tao.roles.trainer import TrainerRole

    context = settings.context()
    role = TrainerRole(context, load_bundle(context, model_id), minimum_fee, keep_every)
    watch(role, f"{role.address} trains 0x{model_id.hex()}", poll, once)


def run_auditor(
    settings: Settings, model_id: bytes, grace: int, poll: float, once: bool, variant: str | None
):
    """Replay claimed training runs bit for bit and dispute those that differ."""
    apply_variant(variant)
    from tao.roles.auditor import AuditorRole

    context = settings.context()
    role = AuditorRole(context, load_bundle(context, model_id), grace)
    watch(role, f"{role.address} audits 0x{model_id.hex()}", poll, once)


def run_member(
    settings: Settings,
    join: bool,
    poll: float,
    once: bool,
    variant: str | None,
    state: Path,
    leave: bool = False,
    model_ids: tuple[bytes, ...] = (),
):
    """Vote in the cases this account is drawn into. leave: take the stake out as soon as it is free, and end.
    model_ids: loaded now rather than in the first case."""
    apply_variant(variant)
    from tao.roles.client import require_registered
    from tao.roles.examiner import ExaminerProcess
    from tao.roles.member import MemberRole

    context = settings.context()
    device = variant or "native"
    examiner = ExaminerProcess(context.store.url, device, variant or "")
    role = MemberRole(context, device, state, examiner)
    try:
        for model_id in model_ids:
            require_registered(context, model_id)
            with context.journal.display.work(f"loading model 0x{model_id.hex()[:8]} and checking it"):
                examiner.load(model_id)
        if leave:
            role.leave()
        elif join:
            role.join()
        if not once:
            examiner.prepare()
        watch(role, f"{role.address} {'leaves the committee' if leave else 'waits for cases'}", poll, once)
    finally:
        role.close()


@click.command()
@chain_options
@role_options
@model_option
@minimum_fee_option
def prover(settings, **options):
    """Serve requests for a model: run it, claim its outputs under a bond, defend the claims.

    Example: tao prover --model 0x1b… --account prover --minimum-fee "0.001 ether"
    """
    run_prover(settings, **options)


@click.command()
@chain_options
@role_options
@model_option
def challenger(settings, **options):
    """Re-execute the claims of a model and dispute the implausible ones to the end.

    Example: tao challenger --model 0x1b… --account challenger --variant avx2
    """
    run_challenger(settings, **options)


@click.command()
@chain_options
@role_options
@join_option
@leave_option
@state_option
@models_option
def committee(settings, **options):
    """Sit on the committee: re-execute what is in dispute, one operator or several, and vote.

    Penalties that took from the stake are made good at the start; --leave takes the stake out for good.

    Example: tao committee --account member-1
    """
    run_member(settings, **options)


@click.command()
@chain_options
@role_options
@model_option
@minimum_fee_option
@keep_option
def trainer(settings, **options):
    """Serve requests for a training job: record the run, claim it under a bond, defend the claim.

    Killed and started again it goes on where it stopped.

    Example: tao trainer --model 0x1b… --account trainer --keep-every 20
    """
    run_trainer(settings, **options)


@click.command()
@chain_options
@role_options
@model_option
@grace_option
def auditor(settings, **options):
    """Replay the claimed runs of a training job bit for bit, and prove what does not follow.

    Example: tao auditor --model 0x1b… --account auditor --variant avx2
    """
    run_auditor(settings, **options)
