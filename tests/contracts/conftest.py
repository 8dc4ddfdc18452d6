"""The deployed contracts as Ape sees them, and their actors."""

from types import SimpleNamespace

import pytest

from support.steps import Step


@pytest.fixture(scope="session")
def ape_contracts(project, deployment):
    return SimpleNamespace(
        vault=project.BondVault.at(deployment.vault.address),
        models=project.ModelRegistry.at(deployment.models.address),
        claims=project.ClaimRegistry.at(deployment.claims.address),
        committee=project.OperatorCommittee.at(deployment.committee.address),
        game=project.DisputeGame.at(deployment.game.address),
        sums=project.SumGame.at(deployment.sums.address),
        contraction=project.ContractionAdjudicator.at(deployment.contraction.address),
        exact=project.ExactAdjudicator.at(deployment.exact.address),
    )


@pytest.fixture(scope="session")
def vault(ape_contracts):
    return ape_contracts.vault


@pytest.fixture(scope="session")
def models(ape_contracts):
    return ape_contracts.models


@pytest.fixture(scope="session")
def claims(ape_contracts):
    return ape_contracts.claims


@pytest.fixture(scope="session")
def committee(ape_contracts):
    return ape_contracts.committee


@pytest.fixture(scope="session")
def game(ape_contracts):
    return ape_contracts.game


@pytest.fixture(scope="session")
def rules(deployment):
    return deployment.rules


@pytest.fixture(scope="session")
def actors(accounts):
    """The accounts behind the names of support.play.Play."""
    names = ("prover", "challenger", "friend", "watcher", "client", "stranger")
    return SimpleNamespace(**dict(zip(names, accounts, strict=False)), members=list(accounts[6:13]))


@pytest.fixture
def judge(wire, deployment):
    """The verdict on a proof by the contract for the step's operator."""
    families = ("rounded_contraction", "rounded_reduction", "rounded_elementwise", "training")
    contracts = [getattr(deployment, family) for family in families]
    deciders = {bytes(op): each for each in contracts for op in wire.call(each, "operators")}

    def verdict(step: Step, proof: bytes) -> bool:
        return step.refuted(wire, deciders[step.leaf()[0][:4]], proof)

    return verdict
