"""Banks hold tensors of equal width as rows and give them back as views."""

from __future__ import annotations

import torch

from tao.training.banks import allocate

NAMED = {
    "conv": torch.randn(4, 3, 2, 2),
    "bias": torch.randn(4),
    "linear": torch.randn(5, 3),
    "vector": torch.randn(3),
    "scalar": torch.randn(()),
    "signal": torch.randn(2, 4, 3),
}
BANKS = allocate(NAMED, frozenset({"conv", "signal"}))


def test_tensors_of_equal_width_share_a_bank_in_order() -> None:
    assert [(bank.width, [place.name for place in bank.places]) for bank in BANKS] == [
        (3, ["conv", "linear", "vector"]),
        (4, ["bias", "signal"]),
        (1, ["scalar"]),
    ]
    assert [bank.shape for bank in BANKS] == [(4 * 2 * 2 + 5 + 1, 3), (1 + 2 * 3, 4), (1, 1)]


def test_splitting_gives_back_what_was_joined() -> None:
    for bank in BANKS:
        joined = bank.join(NAMED)
        assert joined.shape == bank.shape
        for name, tensor in bank.split(joined).items():
            assert tensor.shape == NAMED[name].shape and torch.equal(tensor, NAMED[name])
            assert tensor.untyped_storage()._cdata == joined.untyped_storage()._cdata


def test_convolution_weights_lie_with_channels_last() -> None:
    joined = BANKS[0].join(NAMED)
    assert torch.equal(joined[:16].reshape(4, 2, 2, 3), NAMED["conv"].permute(0, 2, 3, 1))


def test_banks_of_more_tensors_than_a_node_takes_are_joined_in_groups() -> None:
    many = {f"v{i}": torch.full((2,), float(i)) for i in range(300)}
    (bank,) = allocate(many)
    assert torch.equal(bank.join(many)[:, 0], torch.arange(300.0))
