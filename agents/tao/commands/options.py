"""Options that commands share, and the context they describe."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tao import files
from tao.chain.build import ROOT
from tao.display import printable
from tao.errors import TaoError
from tao.numerics.settings import SAFETY, SEGMENT_SAFETY
from tao.numerics.variants import VARIANTS, VariantError

if TYPE_CHECKING:
    from tao.model import ModelBundle
    from tao.roles.context import Context

DEPLOYMENT = ROOT / "deployments" / "ethereum-local.json"
STORE = str(ROOT / ".runs" / "store")

INTERRUPTED = 130
"""Exit status of what a signal ended before it was done, as shells have it."""


@dataclass(frozen=True)
class Settings:
    """What the shared options say. `account` is a name, or a signer where a script brings its own."""

    deployment: Path
    rpc: str
    store: str = STORE
    account: Any = None
    log: Path | None = None

    def context(self, with_account: bool = True) -> "Context":
        """Connect; raises ChainError or DeploymentError in one sentence."""
        from tao.chain.accounts import load_account
        from tao.chain.rpc import connect
        from tao.roles.context import Context
        from tao.roles.journal import Journal

        signer = None
        if with_account:
            named = self.account is None or isinstance(self.account, str)
            signer = load_account(self.account, _ask) if named else self.account
        journal = Journal(self.log)
        w3 = connect(self.rpc, tell=lambda line: journal.note("chain", line))
        return Context.connect(w3, self.deployment, signer, self.store, journal)


def _ask(prompt: str) -> str:
    return click.prompt(prompt, hide_input=True, err=True)


deployment_option = click.option(
    "--deployment",
    type=click.Path(path_type=Path),
    envvar="TAO_DEPLOYMENT",
    default=DEPLOYMENT,
    show_default=True,
    show_envvar=True,
    help="Record of the deployment.",
)
rpc_option = click.option(
    "--rpc",
    envvar="TAO_RPC",
    default="http://127.0.0.1:8545",
    show_default=True,
    show_envvar=True,
    help="HTTP address of a node.",
)
account_option = click.option(
    "--account", help="Ape account or keystore file; without it the key in TAO_PRIVATE_KEY."
)
store_option = click.option(
    "--store",
    envvar="TAO_STORE",
    default=STORE,
    show_default=True,
    show_envvar=True,
    help="Where tensors and models are: a directory or any fsspec URL.",
)
log_option = click.option(
    "--log", type=click.Path(path_type=Path), help="Append each action to this file as a line of JSON."
)


_ON_CPU = [name for name, variant in VARIANTS.items() if variant.device == "cpu" and not variant.runtime]

variants_option = click.option(
    "--variant",
    "variants",
    multiple=True,
    help=f"Kernel variant to calibrate on, repeatable: {', '.join(VARIANTS)}; default: all that run here, "
    "without other runtimes.",
)

safety_option = click.option(
    "--safety",
    type=click.FloatRange(1),
    default=SAFETY,
    show_default=True,
    help="Deviation of an operator rejected, over the largest calibrated.",
)
segment_safety_option = click.option(
    "--segment-safety",
    type=click.FloatRange(1),
    default=SEGMENT_SAFETY,
    show_default=True,
    help="The same for segments of operators.",
)


def require_writable(
    ctx: click.Context, param: click.Parameter, path: Path | None, mode: int = 0o777
) -> Path | None:
    """Callback of options that name a file, or a folder; see files.require_writable."""
    if path is not None:
        try:
            files.require_writable(path, not param.type.file_okay, mode)
        except OSError as error:
            raise click.BadParameter(str(error), ctx, param) from error
    return path


def chain_options(command: Callable) -> Callable:
    """--deployment, --rpc, --store, --account and --log, passed on as `settings`."""

    @deployment_option
    @rpc_option
    @store_option
    @account_option
    @log_option
    @functools.wraps(command)
    def wrapped(deployment, rpc, store, account, log, **rest):
        return command(Settings(deployment, rpc, store, account, log), **rest)

    return wrapped


def role_options(command: Callable) -> Callable:
    """--poll, --once and --variant of the roles that run on."""

    @click.option(
        "--poll", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds between looks."
    )
    @click.option("--once", is_flag=True, help="Look once, do what is to be done, and end.")
    @click.option("--variant", help=f"Kernel variant to run the model with: {', '.join(_ON_CPU)}.")
    @functools.wraps(command)
    def wrapped(*arguments, **rest):
        return command(*arguments, **rest)

    return wrapped


class Identifier(click.ParamType):
    """32 bytes in hex, with or without 0x."""

    name = "hex32"

    def convert(self, value, param, ctx):
        if isinstance(value, bytes):
            return value
        try:
            found = bytes.fromhex(value.removeprefix("0x"))
        except ValueError:
            found = b""
        if len(found) != 32:
            self.fail(f"{value!r} is not 32 bytes in hex", param, ctx)
        return found


class Ether(click.ParamType):
    """An amount such as `0.01 ether`, as wei."""

    name = "amount"

    def convert(self, value, param, ctx):
        from tao.chain.parameters import amount

        wei = value if isinstance(value, int) else amount(value)
        if wei is None:
            self.fail(f"{value!r} is not an amount such as '0.01 ether'", param, ctx)
        return wei


ether = Ether()

model_option = click.option(
    "--model", "model_id", type=Identifier(), required=True, help="Id of a registered model, 32 bytes in hex."
)
minimum_fee_option = click.option(
    "--minimum-fee", type=ether, default="0 ether", show_default=True, help="Serve no request that pays less."
)
grace_option = click.option(
    "--grace",
    type=click.IntRange(0),
    default=60,
    show_default=True,
    help="Seconds after a claim for which missing checkpoints and logs are waited for; then the run is done again "
    "without them.",
)
keep_option = click.option(
    "--keep-every",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Steps between states that are stored whole; a restart replays the steps since.",
)
state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    callback=functools.partial(require_writable, mode=0o700),
    envvar="TAO_STATE",
    default=ROOT / ".runs" / "state",
    show_default=True,
    show_envvar=True,
    help="Folder of this machine where votes are kept until they are revealed, unreadable for other users.",
)
join_option = click.option(
    "--join/--no-join",
    default=True,
    show_default=True,
    help="Stake a seat if the account has none, and restore what penalties took of its stake.",
)
leave_option = click.option(
    "--leave",
    is_flag=True,
    help="Ask to leave, vote in the cases the account still sits on, and end when its stake is out; joins nothing.",
)
models_option = click.option(
    "--model",
    "model_ids",
    type=Identifier(),
    multiple=True,
    help="Load this model before the first case; others are loaded when they are needed.",
)
fee_option = click.option(
    "--fee",
    type=ether,
    default="0 ether",
    show_default=True,
    help="Paid to the prover once its claim is final.",
)
request_option = click.option(
    "--request", "request_id", type=Identifier(), required=True, help="Id that `client request` gave."
)
out_option = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=require_writable,
    help="Save the outputs to this safetensors file.",
)
inputs_option = click.option(
    "--inputs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="safetensors file with the tensors 0, 1, … in the order of the model's inputs.",
)


def apply_variant(name: str | None) -> None:
    """Choose the kernels: before torch is imported, so before anything that imports it.

    Raises VariantError for one that is not there, or is for calibration: of another runtime, or another device.
    """
    from tao.numerics import variants

    variants.use_large_pages()
    if name is not None:
        if name not in _ON_CPU:
            why = "is for calibration" if name in VARIANTS else "is not known"
            raise VariantError(f"kernel variant {name!r} {why}; a role runs with one of {', '.join(_ON_CPU)}")
        variants.apply(name)
    variants.configure_torch(name or "native")


def load_bundle(context: "Context", model_id: bytes) -> "ModelBundle":
    """The registered model from the store, with a spinner while it loads."""
    from tao.roles.client import load_model

    with context.journal.display.work(f"loading model 0x{model_id.hex()[:8]} and checking it"):
        return load_model(context, model_id)


def one_sentence(command: Callable) -> Callable:
    """Turn this package's errors into one sentence and exit status 1."""

    @functools.wraps(command)
    def wrapped(*arguments, **options):
        from web3.exceptions import Web3Exception

        try:
            return command(*arguments, **options)
        except (TaoError, Web3Exception) as error:
            raise click.ClickException(printable(str(error))) from error

    return wrapped


class TaoGroup(click.Group):
    """A group whose commands tell errors in one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        return one_sentence(super().invoke)(ctx)
