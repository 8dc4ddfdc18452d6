"""The commands: help with an example, and every wrong start told in one sentence."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from eth_account import Account
from safetensors import SafetensorError

from benchmarks.small import Cheat
from chain.world import CLIENT, FIRST_MEMBER, OWNER, PROVER
from tao.chain.accounts import load_account
from tao.chain.build import ROOT
from tao.chain.local import account, free_port, let_pass
from tao.commands.main import main
from tao.commands.models import decidable
from tao.errors import ChainError, ProfileError
from tao.model import trace
from tao.numerics.settings import SAFETY, SEGMENT_SAFETY
from tao.roles import client

MODELS = ROOT / "examples" / "models.py"

COMMANDS = [
    "prover",
    "challenger",
    "committee",
    "trainer",
    "auditor",
    "client request",
    "client read",
    "client cancel",
    "calibrate",
    "register",
    "withdraw",
    "status",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_one_worked_example(command):
    result = CliRunner().invoke(main, [*command.split(), "--help"])
    assert result.exit_code == 0 and result.output.count("Example: tao " + command) == 1


def test_starting_a_command_does_not_import_torch():
    """Kernel variants can only be chosen before torch is there."""
    code = "import sys, tao.commands.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0


def shown(run, title: str) -> list[list[str]]:
    """What `tao status` says under a title: the words of each object."""
    sections = [section.splitlines() for section in run("status").output.split("\n\n")]
    (lines,) = [lines for first, *lines in sections if first == title]
    entries: list[list[str]] = []
    for line in lines:
        if not line.startswith(" "):
            entries.append([])
        entries[-1] += line.split()
    return entries


def test_the_status_counts_what_a_model_is_made_of(world, run):
    ((_, *said, _, _),) = shown(run, "Models")
    graph = world.bundle.graph
    counts = f"operators {len(graph)}, steps 1 inputs {graph.input_count}, outputs {len(graph.outputs)},"
    assert " ".join(said) == counts


def test_the_status_shows_what_an_account_has_without_its_passphrase(world, run, tmp_path):
    world.members(1)
    member, path = account(FIRST_MEMBER).address, tmp_path / "member.json"
    path.write_text(json.dumps(Account.encrypt(account(FIRST_MEMBER).key, "open sesame", iterations=2)))
    said = run("status", account=str(path)).output
    assert re.search(
        rf"account {member}: 99\d\d\.\d+ ETH, 0 ETH to withdraw, a seat .* with 0.1 ETH staked", said
    )
    request = world.request()
    client.cancel(world.actor(CLIENT), request)
    assert "ETH, 0.01 ETH to withdraw, no seat on the committee" in run("status", CLIENT).output
    assert "\naccount " not in run("status").output


def test_the_ids_of_the_status_are_what_other_commands_take(world, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    posted = world.request()
    ((model, *_),) = shown(run, "Models")
    ((request, fee, *_, who),) = shown(run, "Open requests")
    assert (request, fee, who) == ("0x" + posted.hex(), "0.01", account(CLIENT).address)
    unserved = run("client read", request=request)
    assert unserved.exit_code == 3 and "nobody serves the request yet" in unserved.output
    served = run("prover --once", PROVER, model=model)
    assert served.exit_code == 0, served.output
    assert shown(run, "Open requests") == []
    ((*_, request),) = shown(run, "Claims")
    assert "open to challenge" in run("client read", request=request).output


def test_the_status_says_who_has_to_move_in_a_dispute(world, run):
    world.request()
    world.prover(Cheat(world.bundle, len(world.bundle.graph) - 1)).tick()
    world.challenger().tick()
    ((_, *said),) = shown(run, "Disputes")
    assert " ".join(said).startswith("reveal, prover has ")
    (claim,) = world.reader.view().claims
    assert f"claim 0x{claim.claim_id.hex()[:8]}, operators 0 to {len(world.bundle.graph) - 1}" in " ".join(
        said
    )
    let_pass(world.w3, 10**6)
    assert "prover is out of time" in run("status").output


@pytest.mark.parametrize(
    ("command", "index", "options", "sentence"),
    [
        (
            "prover --once",
            1,
            {"model": "0x" + "11" * 32},
            "is not registered on this deployment; registered are: 0x",
        ),
        ("challenger --once", 1, {"model": "0x" + "11" * 32}, "is not registered on this deployment"),
        ("committee --once", 1, {"model": "0x" + "11" * 32}, "is not registered on this deployment"),
        ("prover --once", 1, {"model": "0x1234"}, "is not 32 bytes in hex"),
        ("client read", None, {"request": "22" * 32}, "is not known to this deployment"),
        ("withdraw", None, {}, "set TAO_PRIVATE_KEY"),
        ("withdraw", None, {"account": "nobody-of-this-name"}, "no Ape account 'nobody-of-this-name'"),
        ("status", None, {"deployment": "nowhere.json"}, "no deployment is recorded in nowhere.json"),
        ("status", None, {"rpc": "localhost"}, "is not an http"),
        ("prover --once", 1, {"model": "0x" + "11" * 32, "minimum-fee": "lots"}, "not an amount such as"),
        (
            "prover --once",
            1,
            {"model": "0x" + "11" * 32, "variant": "quantum"},
            "kernel variant 'quantum' is not known; a role runs with one of native, ",
        ),
        (
            "prover --once",
            1,
            {"model": "0x" + "11" * 32, "variant": "inductor"},
            "is for calibration; a role",
        ),
        (
            "prover --once",
            1,
            {"model": "0x" + "11" * 32, "variant": "cuda"},
            "is for calibration; a role",
        ),
        ("auditor --once", 1, {"model": "0x" + "11" * 32, "grace": "-5"}, "-5 is not in the range x>=0"),
        ("challenger --once", 1, {"model": "0x" + "11" * 32, "grace": "60"}, "No such option: --grace"),
        ("register nothing.py:build", 1, {}, "there is no file nothing.py; give FILE.py:FUNCTION"),
        (
            "client read",
            None,
            {"request": "22" * 32, "out": f"{MODELS}/x"},
            "cannot be made: File exists",
        ),
        ("committee --once", 1, {"state": f"{MODELS}/x"}, "cannot be made: Not a directory"),
        (
            f"register {MODELS}:training --training",
            1,
            {"first-state": f"{MODELS}/x"},
            "cannot be made: File exists",
        ),
    ],
)
def test_a_wrong_start_is_told_in_one_sentence(run, command, index, options, sentence):
    result = run(command, index, **options)
    assert result.exit_code != 0 and sentence in result.output
    assert "Traceback" not in result.output and result.exception.__class__ is SystemExit


def test_a_profile_that_could_not_be_written_is_not_calibrated():
    result = CliRunner().invoke(
        main, ["calibrate", f"{MODELS}:classifier", "--out", f"{MODELS}/x/profile.json"]
    )
    assert result.exit_code == 2 and "cannot be made: Not a directory" in result.output


def test_the_status_shows_what_a_stranger_registered_and_obeys_none_of_it(world, run):
    context = world.actor(CLIENT)
    model = world.bundle.commitment | {"weightsRoot": b"\1" * 32}
    context.send(context.contracts.models.functions.register(model, "[/x]\x1b[8m\r\n[red]y"))
    status = run("status")
    assert status.exit_code == 0, status.output
    assert "[/x]" in status.output and "[8m" in status.output and "\x1b" not in status.output


def test_a_model_that_is_registered_already_is_told_as_such(world):
    client.register(world.actor(PROVER), world.bundle)
    assert f"model 0x{world.bundle.model_id.hex()} is registered already" in world.log()


@pytest.mark.parametrize(
    ("command", "role", "status"),
    [("prover", "prover", 0), ("prover --once", "prover", 130), ("committee --no-join", "member", 0)],
)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_role_that_is_interrupted_says_what_remains(world, run, monkeypatch, command, role, status, signum):
    def interrupted(*_):
        signal.raise_signal(signum)

    terminated = signal.getsignal(signal.SIGTERM)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(f"tao.roles.{role}.{role.title()}Role.tick", interrupted)
    monkeypatch.setattr("tao.roles.examiner.ExaminerProcess.prepare", lambda examiner: None)
    state = role == "member" and {"state": str(world.folder / "state")}
    options = state or {"model": "0x" + world.bundle.model_id.hex()}
    try:
        result = run(command, PROVER, **options)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) is terminated
    votes = f", in the store and, of votes, in {world.folder / 'state'}" if state else " and in the store"
    said = f"stopped; everything is on the chain{votes}, and the same command goes on from there"
    assert result.exit_code == status and said in result.output.replace("\n", " ")


def test_a_calibration_that_is_interrupted_says_where_it_goes_on(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tao.commands.calibrate.calibrate_model", interrupted)
    words = [
        "calibrate",
        f"{MODELS}:classifier",
        "--out",
        str(tmp_path / "p.json"),
        "--work",
        str(tmp_path / "w"),
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 130 and f"are kept in {tmp_path / 'w'}, and the same command" in result.output


def test_a_training_job_is_registered_asked_for_and_served(world, run):
    state = world.folder / "first.safetensors"
    registered = run(f"register {MODELS}:training --training", OWNER, **{"first-state": str(state)})
    assert registered.exit_code == 0, registered.output
    model = registered.stdout.split()[-1]
    posted = run("client request", CLIENT, model=model, inputs=str(state), fee="0.01 ether")
    assert posted.exit_code == 0, posted.output
    log = world.folder / "trainer.jsonl"
    served = run("trainer --once", PROVER, model=model, log=str(log))
    assert served.exit_code == 0, served.output
    assert [json.loads(line)["action"] for line in log.read_text().splitlines()] == ["start", "claim"]


def test_a_first_state_that_cannot_be_written_after_all_is_told(run, tmp_path, monkeypatch):
    def fail(*_):
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    result = run(f"register {MODELS}:training --training", OWNER, **{"first-state": str(tmp_path / "x")})
    assert result.exit_code == 1 and "the first state cannot be written" in result.output


def test_a_profile_that_is_none_is_named_where_a_model_is_registered(run, tmp_path):
    path = tmp_path / "profile.json"
    path.write_text("{}")
    result = run(f"register {MODELS}:classifier --profile {path}", OWNER)
    assert result.exit_code and f"{path}: invalid tolerance profile" in result.output


def test_registering_shows_how_far_the_calibration_has_come(run, monkeypatch):
    def calibrate(bundle, samples, variants, store, progress, settings):
        for done in (1, 2):
            progress(done, 8)
        raise ProfileError("enough")

    monkeypatch.setattr("tao.numerics.calibrate.calibrate", calibrate)
    result = run(f"register {MODELS}:classifier --variant native --variant baseline", OWNER)
    assert result.exit_code == 1 and "enough" in result.output
    assert re.search(
        r"calibrating 4 operators on 4 inputs and 2 kernel variants: 2 of 8, .* left", result.output
    )


@pytest.mark.parametrize("command", ["register", "calibrate"])
def test_inputs_of_different_shapes_are_refused_before_anything_is_calibrated(run, tmp_path, command):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\ndef shapes(): return torch.nn.ReLU(), [(torch.zeros(2),), (torch.zeros(3),)]\n"
        "def kinds(): return torch.nn.ReLU(), [(torch.zeros(2),), (7,)]\n"
    )
    for name, kind in ("shapes", "float32[3]"), ("kinds", "a int"):
        if command == "register":
            result = run(f"register {path}:{name}", OWNER)
        else:
            words = ["calibrate", f"{path}:{name}", "--out", str(tmp_path / "profile.json")]
            result = CliRunner().invoke(main, words)
        said = f"input 1 of {path}:{name} is ({kind}) and the model is traced for (float32[2])"
        assert result.exit_code == 1 and said in result.output


@pytest.mark.parametrize("option", ["--safety", "--segment-safety"])
@pytest.mark.parametrize("command", ["calibrate --out profile.json", "register"])
@pytest.mark.parametrize(
    ("factor", "sentence"), [("0.5", "0.5 is not in the range x>=1"), ("nan", "the safety factor nan is not")]
)
def test_a_safety_factor_that_no_profile_has_is_refused_at_once(run, command, option, factor, sentence):
    words = f"{command} nothing.py:build {option} {factor}".split()
    result = run(" ".join(words), OWNER) if command == "register" else CliRunner().invoke(main, words)
    assert result.exit_code != 0 and sentence in result.output


def test_what_register_calibrates_by_is_what_it_is_told(run, monkeypatch):
    def calibrate(bundle, samples, variants, store, progress, settings):
        raise ProfileError(f"{settings.safety} and {settings.segment_safety}")

    monkeypatch.setattr("tao.numerics.calibrate.calibrate", calibrate)
    register = f"register {MODELS}:classifier --variant native --variant baseline"
    assert "4.0 and 5.0" in run(f"{register} --safety 4 --segment-safety 5", OWNER).output
    assert f"{SAFETY} and {SEGMENT_SAFETY}" in run(register, OWNER).output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--training --safety 2", "--training calibrates nothing"),
        ("--training --segment-safety 2", "--training calibrates nothing"),
        (f"--training --profile {MODELS}", "--training has no tolerances"),
        (f"--profile {MODELS} --variant native", "--profile calibrates nothing"),
        ("--first-state x.safetensors", "--first-state goes with --training"),
    ],
)
def test_options_that_would_do_nothing_are_refused(run, options, sentence):
    result = run(f"register {MODELS}:training {options}", OWNER)
    assert result.exit_code == 2 and sentence in result.output


class Complement(torch.nn.Module):
    def forward(self, x):
        return torch.bitwise_not(x)


def test_what_only_a_vote_can_decide_is_counted():
    class Attention(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.scaled_dot_product_attention(x, x, x) + 1

    single, half = (torch.zeros(1, 2, 4, 4, dtype=dtype) for dtype in (torch.float32, torch.float16))
    said = decidable(trace(Attention(), (single,)).graph)
    assert said == (
        "1 of 2 operators can be decided by a contract; the others by vote only: "
        "aten.scaled_dot_product_attention.default x1"
    )
    assert decidable(trace(Attention(), (half,)).graph).startswith("0 of 2 operators")

    class Positive(torch.nn.Module):
        def forward(self, x):
            return x > 0, ~(x > x), x.clamp(0, 1)

    integers, truths = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)
    counts = {single: "4 of 4", half: "2 of 4", integers: "3 of 4"}
    for x, count in counts.items():
        assert decidable(trace(Positive(), (x,)).graph).startswith(count)
    assert decidable(trace(Complement(), (truths,)).graph).startswith("1 of 1")
    assert decidable(trace(Complement(), (integers,)).graph).startswith("0 of 1")
    assert (
        decidable(trace(torch.nn.ReLU(), (single,)).graph) == "1 of 1 operators can be decided by a contract"
    )


def test_a_node_that_is_away_is_told(run, monkeypatch):
    monkeypatch.setattr("tao.chain.rpc.connect.__defaults__", (0.3, 0.3))
    result = run("status", rpc=f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1 and "cannot reach the node at http://127.0.0.1" in result.output


@pytest.mark.parametrize("text", ["# Notes", "[]", '{"address": "0x1"}', b"\xff"])
def test_a_file_that_is_no_keystore_is_told_before_a_passphrase_is_asked_for(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ChainError, match="README.md is no keystore file"):
        load_account(str(path), ask=lambda prompt: pytest.fail("asked"))


def test_a_keystore_opens_with_its_passphrase_only(tmp_path, monkeypatch):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(Account.encrypt(account(1).key, "open sesame", iterations=2)))
    monkeypatch.setenv("TAO_PASSPHRASE", "open sesame")
    assert load_account(str(path)).address == account(1).address
    monkeypatch.setenv("TAO_PASSPHRASE", "wrong")
    with pytest.raises(ChainError, match="does not open with this passphrase"):
        load_account(str(path))
    monkeypatch.delenv("TAO_PASSPHRASE")
    with pytest.raises(ChainError, match="needs its passphrase"):
        load_account(str(path))
    monkeypatch.setenv("APE_ACCOUNTS_mine_PASSPHRASE", "open sesame")
    assert load_account(str(path)).address == account(1).address
