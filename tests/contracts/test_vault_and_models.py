"""Bad input to the vault and the model registry is refused with the error that names it."""

import ape
import pytest

from game.stories import networks

NOBODY = "0x0000000000000000000000000000000000000000"


def test_a_lock_of_nothing_is_refused(play, vault, actors):
    with ape.reverts(vault.EmptyTransfer):
        vault.lock(b"\1" * 32, value=0, sender=actors.stranger)


def test_a_credit_of_nothing_or_to_nobody_is_refused(play, vault, actors):
    vault.lock(b"\1" * 32, value=5, sender=actors.stranger)
    with ape.reverts(vault.EmptyTransfer):
        vault.credit(b"\1" * 32, actors.stranger, 0, sender=actors.stranger)
    with ape.reverts(vault.EmptyTransfer):
        vault.credit(b"\1" * 32, NOBODY, 1, sender=actors.stranger)


@pytest.mark.parametrize("method", ["credit", "burn"])
def test_a_lock_pays_no_more_than_it_holds(play, vault, actors, method):
    lock = b"\1" * 32
    vault.lock(lock, value=5, sender=actors.stranger)
    arguments = (lock, actors.stranger, 6) if method == "credit" else (lock, 6)
    with ape.reverts(
        vault.InsufficientLock, controller=actors.stranger.address, lockId=lock, held=5, asked=6
    ):
        getattr(vault, method)(*arguments, sender=actors.stranger)


def test_who_has_no_credit_withdraws_nothing(play, vault, actors):
    with ape.reverts(vault.NothingToWithdraw, account=actors.stranger.address):
        vault.withdraw(actors.stranger, sender=actors.stranger)


def test_credit_is_paid_out_once_to_whom_its_owner_names(play, vault, actors):
    vault.lock(b"\1" * 32, value=5, sender=actors.stranger)
    vault.credit(b"\1" * 32, actors.watcher, 5, sender=actors.stranger)
    before = actors.client.balance
    receipt = vault.withdraw(actors.client, sender=actors.watcher)
    assert receipt.events == [vault.Withdrawn(account=actors.watcher, recipient=actors.client, amount=5)]
    assert actors.client.balance == before + 5
    with ape.reverts(vault.NothingToWithdraw):
        vault.withdraw(actors.client, sender=actors.watcher)


def test_a_model_is_registered_once(play, models, actors):
    commitment = networks()["vote"].commitment
    models.register(commitment, "somewhere", sender=actors.stranger)
    with ape.reverts(models.AlreadyRegistered, modelId=models.idOf(commitment)):
        models.register(commitment, "elsewhere", sender=actors.watcher)


def test_a_model_nobody_registered_is_unknown(play, models):
    with ape.reverts(models.UnknownModel, modelId=b"\1" * 32):
        models.get(b"\1" * 32)


@pytest.mark.parametrize(
    ("field", "value"),
    [(3, 0), (5, 0), (6, 0), (5, 0x8001), (6, 0x8001), (4, 0x10001), (7, 0), (7, 2**31), (6, 3)],
    ids=[
        "no operator",
        "no input",
        "no output",
        "too many inputs",
        "too many outputs",
        "too many parameters",
        "no step",
        "too many operators of all steps",
        "steps that do not join",
    ],
)
def test_a_model_that_cannot_be_played_is_refused(play, models, actors, field, value):
    commitment = list(networks()["steps"].commitment)
    commitment[field] = value
    with ape.reverts(models.InvalidModel):
        models.register(tuple(commitment), "", sender=actors.stranger)
