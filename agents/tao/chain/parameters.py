"""The parameters of a deployment: read from YAML, checked as the constructors do before anything is sent."""

import re
from pathlib import Path
from typing import Any

import yaml
from web3 import Web3

from tao.chain.build import ROOT
from tao.errors import DeploymentError

PARAMETERS = ROOT / "deployments" / "parameters.yaml"

_AMOUNTS = frozenset(
    {"proverBond", "challengerBond", "stake", "memberFee", "noShowPenalty", "minorityPenalty"}
)
_KEYS = {
    "claims": ("window", "proverBond"),
    "committee": (
        "stake", "memberFee", "noShowPenalty", "minorityPenalty", "size", "quorum", "minorityMargin",
        "seedDelay", "commitPeriod", "revealPeriod", "leaveDelay",
    ),
    "game": ("fanOut", "challengerBond", "proverClock", "challengerClock", "maxDemands"),
}  # fmt: skip
_YEAR = 365 * 24 * 3600


def load_parameters(profile: str, path: Path = PARAMETERS) -> dict[str, Any]:
    """The checked parameters of one profile: seconds and wei as integers, by contract.

    Raises DeploymentError where the file, the profile or a value is missing or would be refused on chain.
    """
    if not path.is_file():
        raise DeploymentError(f"the parameters file {path} is missing")
    try:
        profiles = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise DeploymentError(
            f"the parameters file {path} is no YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(profiles, dict) or profile not in profiles:
        known = ", ".join(profiles) if isinstance(profiles, dict) else "none"
        raise DeploymentError(f"{path} has no profile {profile!r}; it has {known}")
    return check_parameters(profiles[profile])


def check_parameters(given: dict[str, Any]) -> dict[str, Any]:
    """Amounts to wei, and every relation the constructors require; raises DeploymentError naming the key."""
    _require(isinstance(given, dict), "burnShareBps", "is missing, as is every other one")
    share = given.get("burnShareBps")
    _require(type(share) is int and 0 < share < 10_000, "burnShareBps", "must be from 1 to 9999")
    parameters: dict[str, Any] = {"burnShareBps": share}
    for section, keys in _KEYS.items():
        values = given.get(section)
        _require(isinstance(values, dict), section, "is missing")
        unknown = sorted(set(values) - set(keys))
        _require(not unknown, f"{section}.{', '.join(unknown)}", "is no parameter")
        for key in keys:
            _require(key in values, f"{section}.{key}", "is missing")
        parameters[section] = {key: _value(section, key, values[key]) for key in keys}
    _check_relations(parameters)
    return parameters


def _check_relations(parameters: dict[str, Any]) -> None:
    claims, panel, game = parameters["claims"], parameters["committee"], parameters["game"]
    share = parameters["burnShareBps"]
    for section, key in (
        ("claims", "window"),
        ("committee", "commitPeriod"),
        ("committee", "revealPeriod"),
        ("committee", "leaveDelay"),
        ("game", "proverClock"),
        ("game", "challengerClock"),
    ):
        _require(
            1 <= parameters[section][key] <= _YEAR, f"{section}.{key}", "must be from a second to a year"
        )
    _require(panel["size"] % 2 == 1 and panel["size"] <= 31, "committee.size", "must be odd and at most 31")
    _require(
        panel["size"] // 2 < panel["quorum"] <= panel["size"], "committee.quorum", "must be over half of size"
    )
    _require(
        1 <= panel["minorityMargin"] <= panel["size"], "committee.minorityMargin", "must be from 1 to size"
    )
    _require(1 <= panel["seedDelay"] <= 256, "committee.seedDelay", "must be from 1 to 256 blocks")
    _require(
        0 < panel["memberFee"] < panel["stake"], "committee.memberFee", "must be positive and below the stake"
    )
    _require(
        0 < panel["noShowPenalty"] <= panel["stake"],
        "committee.noShowPenalty",
        "must be positive, at most the stake",
    )
    _require(
        panel["minorityPenalty"] <= panel["noShowPenalty"],
        "committee.minorityPenalty",
        "exceeds noShowPenalty",
    )
    _require(2 <= game["fanOut"] <= 64, "game.fanOut", "must be from 2 to 64")
    _require(1 <= game["maxDemands"] <= 255, "game.maxDemands", "must be from 1 to 255")
    for key, bond in (
        ("claims.proverBond", claims["proverBond"]),
        ("game.challengerBond", game["challengerBond"]),
    ):
        burned = bond * share // 10_000
        covered = burned > 0 and bond > burned + panel["size"] * panel["memberFee"]
        _require(covered, key, "does not cover the burned share and every member's fee")


def amount(text: str) -> int | None:
    """Wei of an amount such as `0.01 ether`, `5 gwei` or `1 wei`; None for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) (ether|gwei|wei)", text)
    return int(Web3.to_wei(found[1], found[2])) if found else None


def _value(section: str, key: str, value: Any) -> int:
    if key in _AMOUNTS:
        wei = amount(str(value))
        _require(wei is not None, f"{section}.{key}", f"is {value!r}, not an amount such as '0.01 ether'")
        return wei
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    _require(whole, f"{section}.{key}", f"is {value!r}, not a whole number")
    return value


def _require(holds: bool, key: str, problem: str) -> None:
    if not holds:
        raise DeploymentError(f"deployment parameter {key} {problem}")
