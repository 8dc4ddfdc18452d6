"""The processes of the dishonest: provers and trainers who cheat, and those who attack honest claims.

Example: python -m demo.villains prover --cheat int8-weights --model 0x1b… --store DIR --rpc URL
"""

from typing import Any

import click

from tao.commands.agents import watch
from tao.commands.options import (
    apply_variant,
    chain_options,
    load_bundle,
    minimum_fee_option,
    model_option,
    role_options,
)


@click.group()
def main() -> None:
    """The dishonest parties of the demonstrations."""


@main.command()
@chain_options
@role_options
@model_option
@click.option("--cheat", required=True, help="One of demo.cheats.CHEATS.")
@minimum_fee_option
def prover(settings, model_id, cheat, minimum_fee, poll, once, variant):
    """Serve requests for the model, and cheat."""
    apply_variant(variant)
    from demo.cheats import CHEATS, FallsSilent
    from tao.protocol import actions
    from tao.roles.prover import ProverRole

    class Silent(ProverRole):
        """Makes no move but the claim."""

        def decide(self, view):
            return (move for move in super().decide(view) if isinstance(move, actions.Serve))

    context = settings.context()
    bundle = load_bundle(context, model_id)
    behaviour = CHEATS[cheat](bundle)
    role = (Silent if isinstance(behaviour, FallsSilent) else ProverRole)(
        context, bundle, behaviour, minimum_fee
    )
    role.name = "cheat"
    watch(role, f"{role.address} serves with {cheat}", poll, once)


@main.command()
@chain_options
@role_options
@model_option
@click.option("--cheat", required=True, help="One of demo.training.cheats.CHEATS.")
@minimum_fee_option
def trainer(settings, model_id, cheat, minimum_fee, poll, once, variant):
    """Serve requests for the training job, and cheat."""
    apply_variant(variant)
    from demo.training.cheats import CHEATS
    from tao.roles.trainer import TrainerRole

    context = settings.context()
    role = TrainerRole(context, load_bundle(context, model_id), minimum_fee, make=CHEATS[cheat])
    role.name = "cheat"
    watch(role, f"{role.address} trains with {cheat}", poll, once)


@main.command()
@chain_options
@role_options
@model_option
def challenger(settings, model_id, poll, once, variant):
    """Dispute every claim, honest ones too, and put an operator to the committee."""
    apply_variant(variant)
    from tao.roles.challenger import ChallengerRole

    context = settings.context()
    _attack(ChallengerRole(context, load_bundle(context, model_id)), 1e6, poll, once)


@main.command()
@chain_options
@role_options
@model_option
def auditor(settings, model_id, poll, once, variant):
    """Dispute every claim, honest ones too, and point at some operator."""
    apply_variant(variant)
    from tao.roles.auditor import AuditorRole

    context = settings.context()
    _attack(AuditorRole(context, load_bundle(context, model_id)), 0.0, poll, once)


def _attack(role: Any, exceedance: float, poll: float, once: bool) -> None:
    """Let a role go by what a liar says."""
    from demo.liar import Liar

    role.judge = Liar(role.judge, exceedance)
    role.name = "attacker"
    watch(role, f"{role.address} attacks every claim of 0x{role.bundle.model_id.hex()}", poll, once)


if __name__ == "__main__":
    main()
