"""Moves of the stateful tests: what is proven, accused, demanded and answered at a leaf."""

from __future__ import annotations

from dataclasses import replace

from eth_abi import encode
from hypothesis import strategies as st

from game.disputes import Finding, LeafClaim, Phase, Threshold, has_chunk
from game.machine import Machine
from game.rules import Now
from game.stories import Ghost, Story
from support.encoding import Tensor, Type
from support.graphs import CALIBRATED, VOTE_ONLY
from support.oracle import is_refuted
from support.proofs import prove


class LeafMoves(Machine):
    def inconsistent(self) -> list[bytes]:
        """Leaves where the prover's two states do not fit the record."""
        told = {d: self.story_of(self.reference.disputes.disputes[d]) for d in self.playable(Phase.LEAF)}
        return [
            d
            for d, story in told.items()
            if story.inconsistent and story.lie == self.reference.disputes.disputes[d].lo
        ]

    def refutable(self) -> list[bytes]:
        """Leaves whose operator lies about an element that its adjudicator can read."""
        told = {d: self.reference.disputes.disputes[d] for d in self.playable(Phase.LEAF)}
        return [
            d
            for d, entry in told.items()
            if (story := self.story_of(entry)).lie == entry.lo
            and not story.inconsistent
            and story.network.nodes[story.network.node(entry.lo)].operator not in (VOTE_ONLY, CALIBRATED)
        ]

    def prove(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        fitting = self.refutable()
        if fitting and not self.rarely(data):
            dispute = self.choose(data, fitting)
        else:
            dispute = self.pick_dispute(data, Phase.LEAF)
        entry = disputes.disputes[dispute]
        network = self.story_of(entry).network
        leaf, before, outputs = self.leaf(entry)
        operator = network.nodes[network.node(entry.lo)].operator
        proof, finding = b"", Finding.MALFORMED
        if operator == CALIBRATED:
            finding = Finding.NOT_SHOWN
        readable = (
            entry.hi - entry.lo == 1
            and operator not in (VOTE_ONLY, CALIBRATED)
            and all(isinstance(value, Tensor) for value in (*before, *outputs))
        )
        if readable and len(before) == network.record(entry.lo).live_before:
            proof, finding = self._proof(data, self.story_of(entry), entry.lo, before, outputs[0])
        leaf = self._perhaps_spoiled(data, leaf)
        caller = self.choose(data, self.accounts)
        self.move(
            "prove",
            caller,
            "game",
            "prove",
            (dispute, tuple(leaf), proof),
            lambda now, _: disputes.prove(now, caller, dispute, leaf, finding),
            at=self.when(data, disputes.deadline(dispute)),
        )

    def _proof(
        self, data: st.DataObject, story: Story, operator: int, before: list, output: Tensor
    ) -> tuple[bytes, Finding]:
        """A proof about the spoiled element, about another one, or a proof that does not hold together."""
        network, node = story.network, story.network.node(operator)
        element = self.choose(data, range(output.array.size)) if self.rarely(data, 6) else story.false_element
        refuted = is_refuted(network, node, before, output, element)
        proof = prove(network, node, before, output, element)
        spoil = self.choose(data, ("none",) * 9 + ("data", "path", "element"))
        opened, path = proof.output
        if spoil == "data":
            proof = replace(proof, output=(bytes([opened[0] ^ 1]) + opened[1:], path))
        elif spoil == "path":
            proof = replace(proof, output=(opened, [*path, bytes(32)]))
        elif spoil == "element":
            proof = replace(proof, element=output.array.size)
        return proof.encoded, Finding.MALFORMED if spoil != "none" else Finding(0 if refuted else 1)

    def _perhaps_spoiled(self, data: st.DataObject, leaf: LeafClaim) -> LeafClaim:
        part = self.choose(data, ("none",) * 20 + ("record", "path", "before", "outputs"))
        match part:
            case "record":
                return leaf._replace(record=leaf.record[:-1] + bytes([leaf.record[-1] ^ 1]))
            case "path":
                return leaf._replace(path=[*leaf.path, bytes(32)])
            case "before":
                return leaf._replace(before=[*leaf.before, bytes(32)])
            case "outputs":
                return leaf._replace(outputs=[bytes(32), *leaf.outputs[1:]])
        return leaf

    def accusable(self) -> list[bytes]:
        """Leaves whose operator has an adjudicator that measures."""
        disputes = self.reference.disputes.disputes
        return [
            d
            for d in self.playable(Phase.LEAF)
            if self.story_of(disputes[d]).network.nodes[0].operator == CALIBRATED
        ]

    def accuse(self, data: st.DataObject) -> None:
        """With the node's own threshold, now and then with that of another node or another path to it."""
        disputes = self.reference.disputes
        fitting = self.accusable()
        dispute = self.choose(data, fitting) if fitting else self.pick_dispute(data, Phase.LEAF)
        entry = disputes.disputes[dispute]
        network = self.story_of(entry).network
        node = network.node(entry.lo)
        if self.rarely(data):
            node = self.choose(data, range(len(network.nodes)))
        threshold = Threshold(network.theta(node), network.tolerance_hash(node), network.tolerance_path(node))
        match self.choose(data, ("none",) * 20 + ("theta", "other", "longer", "shorter", "segments")):
            case "theta":
                threshold = threshold._replace(theta=max(threshold.theta - 1, 0))
            case "other":
                threshold = threshold._replace(other=bytes(32))
            case "longer":
                threshold = threshold._replace(path=[*threshold.path, bytes(32)])
            case "shorter":
                threshold = threshold._replace(path=threshold.path[:-1])
            case "segments":
                threshold = threshold._replace(path=[*threshold.path[:-1], bytes(32)])
        proof, finding = b"", Finding.MALFORMED
        if network.nodes[network.node(entry.lo)].operator == CALIBRATED and not self.rarely(data):
            beyond = self.choose(data, (0, 1, 1))
            proof, finding = encode(["uint256"], [threshold.theta + beyond]), Finding(1 - beyond)
        leaf = self._perhaps_spoiled(data, self.leaf(entry)[0])
        caller = self.usually(data, entry.challenger)
        self.move(
            "accuse",
            caller,
            "game",
            "accuse",
            (dispute, tuple(leaf), proof, *threshold),
            lambda now, _: disputes.accuse(now, caller, dispute, leaf, threshold, finding),
            at=self.when(data, disputes.deadline(dispute)),
        )

    def prove_inconsistent(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        fitting = self.inconsistent()
        dispute = self.choose(data, fitting) if fitting else self.pick_dispute(data, Phase.LEAF)
        entry = disputes.disputes[dispute]
        leaf, _, _ = self.leaf(entry)
        leaf = self._perhaps_spoiled(data, leaf)._replace(outputs=[])
        after = [value.commitment for value in self.known_states.get(entry.hi_state, ())]
        if self.rarely(data):
            after = [*after, bytes(32)]
        caller = self.choose(data, self.accounts)
        self.move(
            "proveInconsistent",
            caller,
            "game",
            "proveInconsistent",
            (dispute, tuple(leaf), after),
            lambda now, _: disputes.prove_inconsistent(now, caller, dispute, leaf, after),
            at=self.when(data, disputes.deadline(dispute)),
        )

    def demand(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        dispute = self.pick_dispute(data, Phase.LEAF)
        entry = disputes.disputes[dispute]
        record = self.story_of(entry).network.record(entry.lo)
        leaf = self._perhaps_spoiled(data, self.leaf(entry)[0])
        of_output = self.choose(data, (True, False))
        index = self.choose(data, (0, 0, 0, 1))
        entries = record.outputs if of_output else [operand.type for operand in record.operands]
        kind = entries[min(index, len(entries) - 1)]
        chunks = [leaf for leaf in range(300) if has_chunk(kind, leaf)]
        chunk = (
            self.choose(data, chunks)
            if not self.rarely(data)
            else self.choose(data, (chunks[-1] + 1, 2**255))
        )
        caller = self.usually(data, entry.challenger)

        def effect(now: Now, _) -> None:
            disputes.demand(now, caller, dispute, leaf, of_output, index, chunk)
            commitment = leaf.outputs[index] if of_output else leaf.before[record.operands[index].position]
            self.demands[dispute] = (commitment, kind, chunk)

        self.move(
            "demand",
            caller,
            "game",
            "demand",
            (dispute, tuple(leaf), of_output, index, chunk),
            effect,
            at=self.when(data, disputes.deadline(dispute)),
        )

    def answer(self, data: st.DataObject) -> None:
        disputes = self.reference.disputes
        dispute = self.pick_dispute(data, Phase.ANSWER)
        entry = disputes.disputes[dispute]
        commitment, kind, chunk = self.demands.get(dispute, (bytes(32), Type(6, (1,)), 0))
        tensor = self.tensors.get(commitment)
        if tensor is None or isinstance(tensor, Ghost) or not has_chunk(tensor.type, chunk):
            opened, path = bytes(256), []
        else:
            opened, path = tensor.chunk(chunk), tensor.path(chunk)
        match self.choose(data, ("none",) * 12 + ("chunk", "data", "short", "path", "flip")):
            case "chunk":
                chunk += 1
            case "data":
                opened = bytes([opened[0] ^ 1]) + opened[1:]
            case "short":
                opened = opened[:-1]
            case "path":
                path = [*path, bytes(32)]
            case "flip":
                path = [bytes(32) for _ in path]
        caller = self.usually(data, self.reference.claims.get(entry.claim).prover)
        self.move(
            "answer",
            caller,
            "game",
            "answer",
            (dispute, commitment, kind.packed, chunk, opened, path),
            lambda now, _: disputes.answer(now, caller, dispute, commitment, kind, chunk, opened, path),
            at=self.when(data, disputes.deadline(dispute)),
        )
