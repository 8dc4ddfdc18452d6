"""Fixtures of the tests that need a chain, and the hypothesis profiles."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.deployment import Deployment, deploy
from support.isolation import isolated
from support.play import Play
from support.wire import Wire
from tao.tensors import store

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("quick", derandomize=True, deadline=None, suppress_health_check=CHECKS)
settings.register_profile("deep", deadline=None, max_examples=2_000, suppress_health_check=CHECKS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session", autouse=True)
def unflushed() -> Iterator[None]:
    """Stores do not wait for the disk: no test outlives a power loss."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_flush", lambda path: None)
        yield


@pytest.fixture(scope="session")
def wire(chain) -> Wire:
    return Wire(chain.provider.http_uri)


@pytest.fixture(scope="session")
def deployment(project, accounts, wire) -> Deployment:
    """The real contracts under small bonds and short clocks, deployed by the last account."""
    return deploy(project, accounts[19], wire)


@pytest.fixture(scope="session")
def people(accounts) -> list[str]:
    """Addresses of unlocked accounts, in the lower case in which the wire reads them back."""
    return [account.address.lower() for account in accounts[:16]]


@pytest.fixture
def play(deployment, people) -> Iterator[Play]:
    """The game with named actors; everything a test does to the chain is undone."""
    with isolated(deployment.wire):
        yield Play(deployment, people)
