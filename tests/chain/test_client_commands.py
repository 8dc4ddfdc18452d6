"""The client's commands: a request from its inputs to its outputs, or to its fee."""

import json
import shutil

import pytest
import torch
from eth_account import Account
from safetensors.torch import load_file, save_file

from benchmarks.small import Cheat, inputs, node
from chain.world import CLIENT, FEE, FIRST_MEMBER, PROVER
from tao.chain.local import account
from tao.roles.prover import ProverRole


@pytest.fixture
def asked(world):
    """What a request is posted with: the model, and the file of its inputs."""
    path = world.folder / "in.safetensors"
    save_file({"0": inputs()[0]}, path)
    return {"model": "0x" + world.bundle.model_id.hex(), "inputs": str(path)}


def test_a_request_is_served_and_read_from_the_command_line(world, run, asked):
    posted = run("client request", CLIENT, **asked, fee="0.01 ether")
    assert posted.exit_code == 0, posted.output
    request = posted.stdout.split()[-1]
    log = world.folder / "prover.jsonl"
    served = run("prover --once", PROVER, model=asked["model"], log=str(log))
    assert served.exit_code == 0, served.output
    assert [json.loads(line)["action"] for line in log.read_text().splitlines()] == ["start", "claim"]
    out = world.folder / "out.safetensors"
    read = run("client read", request=request, out=str(out))
    assert read.exit_code == 0 and "open to challenge" in read.output
    assert (load_file(out)["0"] > 0).all()
    assert "pending, window ends in" in run("status").output


def test_a_request_is_told_by_its_id_although_the_log_cannot_be_written(run, asked):
    posted = run("client request", CLIENT, **asked, log=f"{asked['inputs']}/log.jsonl")
    assert posted.exit_code == 0 and len(posted.stdout.split()[-1]) == 66
    assert posted.output.count("log.jsonl cannot be written (File exists)") == 1


def test_who_asks_for_a_run_fetches_no_parameter(world, run, asked):
    shutil.rmtree(world.folder / "store" / "tensors")
    posted = run("client request", CLIENT, **asked)
    assert posted.exit_code == 0, posted.output
    assert len(list((world.folder / "store" / "tensors").iterdir())) == 1


def test_an_account_without_funds_is_told_what_it_holds(run, asked, monkeypatch):
    poor = Account.create()
    monkeypatch.setattr("chain.conftest.account", lambda index: poor)
    result = run("client request", CLIENT, **asked, fee="1 ether")
    assert (
        result.exit_code == 1 and f"account {poor.address} holds 0 ETH, too little for 1 ETH" in result.output
    )


def test_inputs_of_the_wrong_names_are_told(run, asked):
    save_file({"x": inputs()[0]}, asked["inputs"])
    result = run("client request", CLIENT, **asked)
    assert result.exit_code == 1 and "name the inputs 0, 1" in result.output


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        (
            [torch.zeros(3, 12)],
            r"input 0 must be float32[2, 12], but is float32[3, 12]; the model is registered",
        ),
        ([torch.zeros(2, 12, dtype=torch.float64)], "must be float32[2, 12], but is float64[2, 12]"),
        ([torch.zeros(2, 12)] * 2, "2 inputs are given and the model takes 1"),
        ([torch.full((2, 12), torch.nan)], "input 0 is not a number somewhere; nobody would claim"),
    ],
)
def test_inputs_that_nobody_could_serve_are_refused_before_anything_is_paid(
    world, run, asked, tensors, sentence
):
    save_file({str(i): tensor.clone() for i, tensor in enumerate(tensors)}, asked["inputs"])
    result = run("client request", CLIENT, **asked, fee="1 ether")
    assert result.exit_code == 1 and sentence in result.output.replace("\n", " ")
    assert not world.reader.view().requests


def test_what_became_of_a_request_is_told_although_an_output_is_missing(world, run):
    request = world.request()
    world.prover().tick()
    (claim,) = world.reader.view().claims
    (world.folder / "store" / "tensors" / f"{claim.outputs[0].hex()}.safetensors").unlink()
    out = world.folder / "out.safetensors"
    result = run("client read", request="0x" + request.hex(), out=str(out))
    said = " ".join(result.output.split())
    assert result.exit_code == 1 and not out.exists()
    assert f"of {claim.prover}: pending, open to challenge" in said
    assert f"output 0: tensors/{claim.outputs[0].hex()}.safetensors is missing" in said
    assert said.endswith("1 of 1 outputs cannot be had; none is saved")


def test_claims_that_were_refuted_are_told_of_their_request(world, run):
    request = "0x" + world.request().hex()
    world.play(world.prover(Cheat(world.bundle, node(world.bundle, "contraction"))), world.challenger())
    (claim,) = world.reader.view().claims
    said = " ".join(run("client read", request=request).output.split())
    assert (
        f"claim 0x{claim.claim_id.hex()} of {claim.prover}: refuted Error: nobody serves the request now"
        in said
    )
    ProverRole(world.actor(FIRST_MEMBER), world.bundle).tick()
    said = " ".join(run("client read", request=request).output.split())
    assert said.count(": refuted") == 1 and ": pending, open to challenge" in said and "output 0" in said


def test_many_values_are_saved_and_not_printed(world, run, monkeypatch):
    request = "0x" + world.request().hex()
    world.prover().tick()
    out = str(world.folder / "out.safetensors")
    assert "tensor([[" in run("client read", request=request, out=out).output
    monkeypatch.setattr("tao.commands.client.MOST_SHOWN", 1)
    saved = run("client read", request=request, out=out).output
    assert "output 0: torch.float32 (2, " in saved and "tensor([[" not in saved
    assert "tensor([[" in run("client read", request=request).output


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_outputs_that_cannot_be_saved_are_told_once_they_are_shown(world, run, monkeypatch):
    request = "0x" + world.request().hex()
    world.prover().tick()
    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    result = run("client read", request=request, out=str(world.folder / "out.safetensors"))
    assert "output 0: torch.float32" in result.output
    assert result.exit_code == 1 and "cannot be saved" in result.output and "No space left" in result.output


def test_outputs_are_saved_although_nobody_reads_what_is_said_of_them(world, run, monkeypatch):
    def closed(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    request = "0x" + world.request().hex()
    world.prover().tick()
    monkeypatch.setattr("rich.console.Console.print", closed)
    out = world.folder / "out.safetensors"
    assert run("client read", request=request, out=str(out)).exit_code == 1
    assert list(load_file(out)) == ["0"]


def test_a_request_that_nobody_serves_is_taken_back_with_its_fee(world, run):
    request = "0x" + world.request().hex()
    assert "not client" in run("client cancel", PROVER, request=request).output
    cancelled = run("client cancel", CLIENT, request=request)
    assert cancelled.exit_code == 0 and "cancelled request" in cancelled.output
    vault = world.context(CLIENT).contracts.vault.functions
    assert vault.creditOf(account(CLIENT).address).call() == FEE
    read = run("client read", request=request)
    assert read.exit_code == 1 and "was cancelled" in read.output
    assert run("withdraw", CLIENT).exit_code == 0
    assert vault.creditOf(account(CLIENT).address).call() == 0
    again = run("client cancel", CLIENT, request=request)
    assert again.exit_code == 1 and f"the request {request[:10]} was cancelled before" in again.output


def test_a_served_request_cannot_be_taken_back(world, run):
    request = "0x" + world.request().hex()
    world.prover().tick()
    (claim,) = world.reader.view().claims
    result = run("client cancel", CLIENT, request=request)
    served = f"the request {request[:10]} is served by claim 0x{claim.claim_id.hex()[:8]}, which is pending"
    assert result.exit_code == 1 and served in result.output
