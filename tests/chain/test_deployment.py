"""Records of deployments: complete, checked against the chain, never replaced by accident."""

import copy
import json
from dataclasses import replace

import pytest
import yaml

from chain.world import OWNER
from tao.chain.build import load_build, matches, sources
from tao.chain.contracts import Contracts
from tao.chain.deploy import create_address, deploy
from tao.chain.deployment import CONTRACTS, Deployment
from tao.chain.local import account
from tao.chain.parameters import PARAMETERS, check_parameters, load_parameters
from tao.commands.deploy import run_deploy
from tao.errors import ChainError, DeploymentError


def test_a_record_read_back_is_the_same_and_fits_the_chain(w3, deployed, build, tmp_path):
    path = tmp_path / "ethereum-local.json"
    deployed.save(path)
    read = Deployment.load(path)
    assert read == deployed
    read.verify(w3, build)
    for name in CONTRACTS:
        receipt = w3.eth.get_transaction_receipt(read.contracts[name].transaction)
        assert receipt["contractAddress"] == read.contracts[name].address
        assert receipt["blockNumber"] == read.contracts[name].block
    assert read.first_block == min(entry.block for entry in read.contracts.values())


def test_the_contracts_know_each_other(w3, deployed, build):
    contracts = Contracts.bind(w3, deployed, build)
    assert contracts.claims.functions.disputeGame().call() == contracts.game.address
    assert contracts.committee.functions.disputeGame().call() == contracts.game.address
    assert contracts.game.functions.claims().call() == contracts.claims.address


def test_a_record_is_not_replaced_without_force(deployed, tmp_path):
    path = tmp_path / "record.json"
    deployed.save(path)
    other = replace(deployed, network="other")
    with pytest.raises(DeploymentError, match="give --force"):
        other.save(path)
    assert Deployment.load(path) == deployed
    other.save(path, force=True)
    assert Deployment.load(path) == other
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_a_record_that_could_not_be_written_costs_no_transaction(w3, chain_url, tmp_path):
    (tmp_path / "file").touch()
    signer = account(OWNER)
    sent = w3.eth.get_transaction_count(signer.address)
    with pytest.raises(
        DeploymentError, match="cannot be recorded: the folder .* cannot be made: File exists"
    ):
        run_deploy(chain_url, signer, "ethereum-local", "local", tmp_path / "file" / "record.json")
    assert w3.eth.get_transaction_count(signer.address) == sent


def test_a_record_that_cannot_be_written_after_all_is_printed(
    chain_url, deployed, tmp_path, monkeypatch, capsys
):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tao.commands.deploy.deploy", lambda *_: deployed)
    monkeypatch.setattr("tao.chain.deployment.write_whole", full_disk)
    with pytest.raises(DeploymentError, match="deployed, but not recorded .*No space left"):
        run_deploy(chain_url, account(OWNER), "ethereum-local", "local", tmp_path / "record.json")
    (tmp_path / "saved.json").write_text(capsys.readouterr().out)
    assert Deployment.load(tmp_path / "saved.json") == deployed


def test_a_missing_record_names_the_remedy(tmp_path):
    with pytest.raises(DeploymentError, match="ape run deploy"):
        Deployment.load(tmp_path / "ethereum-nowhere.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"contracts": {"BondVault": {}}}', "not json"])
def test_a_malformed_record_is_refused(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(DeploymentError, match="is not a deployment record .*; pass --deployment one"):
        Deployment.load(path)


def test_a_record_without_one_contract_is_refused(deployed, tmp_path):
    path = tmp_path / "record.json"
    deployed.save(path)
    data = json.loads(path.read_text())
    del data["contracts"]["DisputeGame"]
    path.write_text(json.dumps(data))
    with pytest.raises(DeploymentError, match="lacks DisputeGame"):
        Deployment.load(path)


def test_another_chain_is_told_by_its_id(w3, deployed, build):
    with pytest.raises(DeploymentError, match="is on chain 17000, the node on chain 31337"):
        replace(deployed, chain_id=17000).verify(w3, build)


def test_an_address_without_code_is_told(w3, deployed, build):
    moved = replace(deployed.contracts["BondVault"], address=account(19).address)
    with pytest.raises(DeploymentError, match="BondVault is not at"):
        replace(deployed, contracts=deployed.contracts | {"BondVault": moved}).verify(w3, build)


def test_code_that_changed_since_is_told(w3, deployed, build):
    address = deployed.contracts["BondVault"].address
    w3.provider.make_request("anvil_setCode", [address, "0x6001"])
    with pytest.raises(DeploymentError, match="is not the code that was recorded"):
        deployed.verify(w3, build)


def test_code_of_other_sources_is_told(w3, deployed, build):
    changed = copy.deepcopy(build.contracts)
    runtime = bytearray(changed["DisputeGame"].runtime)
    runtime[10] ^= 1
    changed["DisputeGame"] = replace(changed["DisputeGame"], runtime=bytes(runtime))
    with pytest.raises(DeploymentError, match="DisputeGame .* is not what these sources build"):
        deployed.verify(w3, replace(build, contracts=changed))


def test_only_immutables_and_metadata_may_differ_from_the_build():
    metadata = b"\xaa" * 8 + (8).to_bytes(2, "big")
    built = b"\x01\x7f" + bytes(32) + b"\x02" + metadata
    assert matches(b"\x01\x7f" + b"\x77" * 32 + b"\x02" + metadata, built)
    assert matches(b"\x01\x7f" + bytes(32) + b"\x02" + b"\xbb" * 8 + (8).to_bytes(2, "big"), built)
    assert not matches(b"\x01\x7f" + bytes(32) + b"\x03" + metadata, built)
    assert not matches(b"\x01\x7e" + bytes(32) + b"\x02" + metadata, built)
    assert not matches(built + b"\x00", built)


def test_an_address_is_known_before_its_contract(deployed):
    receipt_order = [deployed.contracts[name].address for name in CONTRACTS]
    assert receipt_order == [create_address(deployed.deployer, nonce) for nonce in range(len(CONTRACTS))]


def test_a_build_that_is_not_there_names_the_remedy(tmp_path):
    with pytest.raises(DeploymentError, match="make setup"):
        load_build(tmp_path / "nothing.json")


def test_a_build_of_older_sources_names_the_remedy(tmp_path):
    (tmp_path / "contracts").mkdir()
    (tmp_path / "ape-config.yaml").touch()
    (tmp_path / "build.json").write_text('{"contractTypes": {}}')
    (tmp_path / "sources").write_text(sources(tmp_path) + "\n")
    assert load_build(tmp_path / "build.json", tmp_path).contracts == {}
    load_build.cache_clear()
    (tmp_path / "contracts" / "New.sol").write_text("contract New {}")
    with pytest.raises(DeploymentError, match="changed since they were compiled; run `make setup`"):
        load_build(tmp_path / "build.json", tmp_path)


def test_an_account_without_funds_deploys_nothing(w3, build, parameters):
    from eth_account import Account

    poor = Account.create()
    with pytest.raises(ChainError, match=f"account {poor.address} holds 0 ETH, too little"):
        deploy(w3, poor, parameters, build, "ethereum-local")


@pytest.mark.parametrize(
    ("section", "key", "value", "sentence"),
    [
        (None, "burnShareBps", 0, "burnShareBps must be from 1 to 9999"),
        (None, "burnShareBps", 10_000, "burnShareBps must be from 1 to 9999"),
        ("claims", "window", 0, "claims.window must be from a second to a year"),
        ("claims", "window", "1h", "claims.window is '1h', not a whole number"),
        ("claims", "proverBond", "0.0001 ether", "claims.proverBond does not cover"),
        ("claims", "proverBond", 5, "not an amount such as"),
        ("game", "challengerBond", "0.0001 ether", "game.challengerBond does not cover"),
        ("game", "fanOut", 1, "game.fanOut must be from 2 to 64"),
        ("game", "fanOut", True, "not a whole number"),
        ("game", "maxDemands", 0, "game.maxDemands"),
        ("committee", "size", 4, "committee.size must be odd"),
        ("committee", "quorum", 1, "committee.quorum must be over half of size"),
        ("committee", "minorityMargin", 0, "committee.minorityMargin"),
        ("committee", "seedDelay", 257, "committee.seedDelay"),
        ("committee", "memberFee", "0.2 ether", "committee.memberFee"),
        ("committee", "noShowPenalty", "0.2 ether", "committee.noShowPenalty"),
        ("committee", "minorityPenalty", "0.03 ether", "committee.minorityPenalty"),
    ],
)
def test_parameters_the_constructors_would_refuse_are_named_before_anything_is_sent(
    section, key, value, sentence
):
    profile = _profile("local")
    (profile if section is None else profile[section])[key] = value
    with pytest.raises(DeploymentError, match=sentence):
        check_parameters(profile)


@pytest.mark.parametrize("section", ["claims", "committee", "game"])
def test_missing_and_unknown_parameters_are_named(section):
    profile = _profile("local")
    key, value = next(iter(profile[section].items()))
    del profile[section][key]
    with pytest.raises(DeploymentError, match=f"{section}.{key} is missing"):
        check_parameters(profile)
    profile[section][key] = value
    profile[section]["typo"] = 1
    with pytest.raises(DeploymentError, match=f"{section}.typo is no parameter"):
        check_parameters(profile)


@pytest.mark.parametrize("profile", yaml.safe_load(PARAMETERS.read_text()))
def test_every_profile_is_deployed_by_its_parameters(profile, w3, build):
    parameters = load_parameters(profile)
    deployed = deploy(w3, account(OWNER + 11), parameters, build, f"ethereum-{profile}")
    game = Contracts.bind(w3, deployed, build).game
    assert game.functions.parameters().call()[0] == parameters["game"]["fanOut"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("local: {}", "no profile 'mainnet'; it has local"),
        ("mainnet:", "burnShareBps is missing, as is every other one"),
        ("mainnet: {burnShareBps: true}", "burnShareBps must be from 1 to 9999"),
        ("mainnet: [", "is no YAML: while parsing"),
        ("", "no profile 'mainnet'; it has none"),
    ],
)
def test_a_profile_that_is_none_is_named(tmp_path, text, sentence):
    path = tmp_path / "parameters.yaml"
    path.write_text(text)
    with pytest.raises(DeploymentError, match=sentence):
        load_parameters("mainnet", path)


def _profile(name: str) -> dict:
    return yaml.safe_load(PARAMETERS.read_text())[name]
