"""The processes of the dishonest: trainers who cheat, and an auditor who accuses honest ones.

Example: python -m demo.training.villains trainer --cheat flipped-label --model 0x1b… --store DIR --rpc URL
"""

import click

from tao.commands.agents import watch
from tao.commands.options import apply_variant, chain_options, ether, load_bundle, model_option, role_options


@click.group()
def main() -> None:
    """The dishonest parties of the training demonstration."""


@main.command()
@chain_options
@role_options
@model_option
@click.option("--cheat", required=True, help="One of demo.training.cheats.CHEATS.")
@click.option("--minimum-fee", type=ether, default="0 ether", help="Serve no request below it.")
def trainer(settings, model_id, cheat, minimum_fee, poll, once, variant):
    """Serve requests for the training job, and cheat."""
    apply_variant(variant)
    from demo.training.cheats import CHEATS
    from tao.roles.trainer import TrainerRole

    context = settings.context()
    bundle = load_bundle(context, model_id)
    role = TrainerRole(context, bundle, minimum_fee, make=CHEATS[cheat])
    role.name = "cheat"
    watch(role, f"{role.address} trains with {cheat}", poll, once)


@main.command()
@chain_options
@role_options
@model_option
def auditor(settings, model_id, poll, once, variant):
    """Dispute every claim, honest ones too, and point at some operator."""
    apply_variant(variant)
    from tao.protocol.challenger import Measured
    from tao.roles.audit_judge import AuditJudge
    from tao.roles.auditor import AuditorRole

    class Liar(AuditJudge):
        """Finds fault with everything and can prove nothing."""

        def suspicious(self, claim):
            return True

        def deviation(self, dispute, child):
            return 1e6 if child == 1 else 0.0

        def examine(self, dispute):
            return Measured(0.0)

        def difference(self, claim):
            return "so it says"

    context = settings.context()
    bundle = load_bundle(context, model_id)
    role = AuditorRole(context, bundle)
    role.judge = Liar(bundle, context.store, role.judge.grace)
    role.name = "attacker"
    watch(role, f"{role.address} attacks every claim of 0x{model_id.hex()}", poll, once)


if __name__ == "__main__":
    main()
