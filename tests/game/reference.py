"""The reference model of the whole game, in plain Python and without a chain.

Every operation takes the block it happens in (`Now`) and the caller, and either takes effect or raises
`Refused` with the name of the custom error. Whether a proof refutes an element is told by `support.oracle`,
which computes with exact fractions; which panel a block's hash draws is told by the chain.
"""

from __future__ import annotations

from game.claims import Claims
from game.committee import Committee
from game.disputes import Disputes
from game.rules import Model, Rules, require
from game.sums import Sums
from game.vault import Vault
from support.encoding import model_id


class Reference:
    def __init__(self, rules: Rules):
        self.rules = rules
        self.models: dict[bytes, Model] = {}
        self.vault = Vault(rules)
        self.claims = Claims(rules, self.vault, self.models)
        self.committee = Committee(rules, self.vault)
        self.disputes = Disputes(rules, self.vault, self.claims, self.committee)
        self.sums = Sums(rules, self.disputes)

    def register(self, model: Model) -> bytes:
        nodes, parameters, inputs, outputs, steps = model.commitment[3:]
        playable = nodes > 0 and 0 < inputs <= 0x8000 and 0 < outputs <= 0x8000 and parameters <= 0x10000
        repeatable = steps > 0 and steps * nodes < 2**32 and (steps == 1 or inputs == outputs)
        require(playable and repeatable, "InvalidModel")
        identifier = model_id(model.commitment)
        require(identifier not in self.models, "AlreadyRegistered")
        self.models[identifier] = model
        return identifier
