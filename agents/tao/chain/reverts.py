"""A contract's refusal, decoded to one sentence."""

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from eth_abi import decode
from eth_utils import keccak
from hexbytes import HexBytes
from web3.exceptions import ContractCustomError, ContractLogicError

from tao.errors import ChainError
from tao.protocol.views import Phase, Stage, Status, SumStage

_ENUMS: dict[str, type[IntEnum]] = {
    "IDisputeGame.Phase": Phase,
    "IClaimRegistry.Status": Status,
    "IOperatorCommittee.Stage": Stage,
    "ISumGame.Stage": SumStage,
}


class Refused(ChainError):
    """A contract refused a call. `error` is the name of its custom error, empty where there is none, and `arguments`
    are that error's by name."""

    def __init__(self, what: str, error: str, sentence: str, arguments: dict[str, Any] | None = None):
        super().__init__(f"{what} was refused: {sentence}")
        self.error, self.arguments = error, arguments or {}


class Errors:
    """The custom errors of a set of ABIs, by selector. Raises ValueError for one that two ABIs read differently."""

    def __init__(self, abis: Iterable[list[dict[str, Any]]]):
        self._by_selector = {}
        for abi in abis:
            for entry in abi:
                if entry["type"] == "error":
                    types = [_canonical(argument) for argument in entry["inputs"]]
                    signature = f"{entry['name']}({','.join(types)})"
                    known, _ = self._by_selector.setdefault(keccak(text=signature)[:4], (entry, types))
                    if _enums(known) != _enums(entry):
                        raise ValueError(f"{signature} means two things, by the enums of its arguments")

    def refusal(self, what: str, error: ContractLogicError) -> Refused:
        """The refusal behind web3's exception."""
        data = error.data
        raw = bytes(HexBytes(data)) if isinstance(data, str) and data.startswith("0x") else b""
        known = self._by_selector.get(raw[:4])
        if known is None:
            detail = (
                error.message if not isinstance(error, ContractCustomError) else f"error 0x{raw[:4].hex()}"
            )
            return Refused(what, "", str(detail or "the call reverts without a reason"))
        entry, types = known
        values = decode(types, raw[4:])
        arguments = ", ".join(
            f"{_words(argument['name'])} {_shown(argument, value)}"
            for argument, value in zip(entry["inputs"], values, strict=True)
        )
        named = {argument["name"]: value for argument, value in zip(entry["inputs"], values, strict=True)}
        told = _words(entry["name"]) + (f" ({arguments})" if arguments else "")
        return Refused(what, entry["name"], told, named)


def _canonical(argument: dict[str, Any]) -> str:
    if not argument["type"].startswith("tuple"):
        return argument["type"]
    inner = ",".join(_canonical(component) for component in argument["components"])
    return f"({inner}){argument['type'].removeprefix('tuple')}"


def _enums(entry: dict[str, Any]) -> list[type[IntEnum] | None]:
    return [_enum(argument) for argument in entry["inputs"]]


def _enum(argument: dict[str, Any]) -> type[IntEnum] | None:
    return _ENUMS.get(argument.get("internalType", "").removeprefix("enum "))


def _shown(argument: dict[str, Any], value: Any) -> str:
    if (enum := _enum(argument)) is not None:
        return enum(value).name.lower()
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
