"""The processes of the dishonest: a prover with a cheat, and a challenger who attacks honest claims.

Example: python -m demo.villains prover --cheat int8-weights --model 0x1b… --store DIR --rpc URL
"""

import click

from tao.commands.agents import watch
from tao.commands.options import apply_variant, chain_options, ether, load_bundle, model_option, role_options


@click.group()
def main() -> None:
    """The dishonest parties of the demonstration."""


@main.command()
@chain_options
@role_options
@model_option
@click.option("--cheat", required=True, help="One of demo.cheats.CHEATS.")
@click.option(
    "--minimum-fee", type=ether, default="0 ether", show_default=True, help="Serve no request below it."
)
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
def challenger(settings, model_id, poll, once, variant):
    """Dispute every claim, honest ones too, and put an operator to the committee."""
    apply_variant(variant)
    from tao.protocol.challenger import Measured
    from tao.roles.challenger import ChallengerRole
    from tao.roles.judge import ReplayJudge

    class Liar(ReplayJudge):
        """Finds fault with everything."""

        def suspicious(self, claim):
            return True

        def deviation(self, dispute, child):
            return 1e6 if child == 1 else 0.0

        def examine(self, dispute):
            return Measured(1e6)

    context = settings.context()
    role = ChallengerRole(context, load_bundle(context, model_id))
    role.judge = Liar(role.bundle, context.store, role.judge.threshold, role.judge.grace)
    role.name = "attacker"
    watch(role, f"{role.address} attacks every claim of 0x{model_id.hex()}", poll, once)


if __name__ == "__main__":
    main()
