"""A model as it is registered: graph, parameters and tolerances, with the commitments over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tao import receipt
from tao.errors import ModelError
from tao.execution import Executor, capture
from tao.graph import Graph, export
from tao.graph.export import arguments, input_names
from tao.graph.literals import canonical_json
from tao.numerics.profile import Profile
from tao.receipt import Receipt
from tao.tensors import merkle
from tao.tensors.codec import TensorType
from tao.tensors.keccak import keccak
from tao.tensors.store import TensorStore
from tao.tensors.tree import TensorTree, commit, tag
from tao.untrusted import parse_json

if TYPE_CHECKING:
    from tao.verification import Report

FORMAT = "tao.model.v1"
MAX_OPERATORS = 2**32 - 1
"""Of a whole run, all steps together; the game numbers them by a uint32."""


class CommittedModel:
    """What a model id is made of: everything of a model but the values of its parameters."""

    graph: Graph
    parameter_commitments: tuple[bytes, ...]
    """The tensor commitment of each parameter, the leaves of the weights tree."""
    profile: Profile | None
    steps: int

    @cached_property
    def weights_root(self) -> bytes:
        return merkle.root(self.parameter_commitments)

    @property
    def graph_root(self) -> bytes:
        return self.graph.root

    @cached_property
    def tolerances_root(self) -> bytes:
        """Root over the tolerances; zero without a profile, which no vote accepts."""
        return merkle.ZERO if self.profile is None else self.profile.root

    @property
    def commitment(self) -> dict[str, Any]:
        """The fields of `IModelRegistry.Model`, in order."""
        return {
            "weightsRoot": self.weights_root,
            "graphRoot": self.graph_root,
            "tolerancesRoot": self.tolerances_root,
            "nodeCount": len(self.graph),
            "parameterCount": self.graph.parameter_count,
            "inputCount": self.graph.input_count,
            "outputCount": len(self.graph.outputs),
            "steps": self.steps,
        }

    @cached_property
    def model_id(self) -> bytes:
        """keccak256(abi.encode(TAG_model, Model))."""
        words = [v if isinstance(v, bytes) else v.to_bytes(32, "big") for v in self.commitment.values()]
        return keccak(tag("model") + b"".join(words))

    def __repr__(self) -> str:
        calibrated = "not calibrated" if self.profile is None else "calibrated"
        steps = "" if self.steps == 1 else f", {self.steps} steps"
        shown = f"0x{self.model_id[:4].hex()}…, {len(self.graph)} operators{steps}, {calibrated}"
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, eq=False, repr=False)
class ModelOutline(CommittedModel):
    """A stored model of which no parameter is fetched: for who asks for a run."""

    graph: Graph
    parameter_commitments: tuple[bytes, ...]
    profile: Profile | None
    steps: int

    @classmethod
    def load(cls, store: TensorStore, model_id: bytes) -> ModelOutline:
        """Read a model but its parameters and verify that against its id; raises as `ModelBundle.load`."""
        manifest = store.get_named(_manifest_name(model_id))
        graph_hash, commitments, profile_hash, steps = _read_manifest(manifest, model_id)
        graph = Graph.from_json(store.get_blob(graph_hash))
        if len(commitments) != graph.parameter_count:
            raise ModelError(f"the graph has {graph.parameter_count} parameters, not {len(commitments)}")
        profile = None if profile_hash is None else Profile.from_json(store.get_blob(profile_hash))
        outline = cls(graph, commitments, profile, steps)
        if outline.model_id != model_id:
            found = outline.model_id.hex()
            raise ModelError(f"the store has model 0x{found} as 0x{model_id.hex()}; use another store")
        return outline


@dataclass(frozen=True, eq=False, repr=False)
class ModelBundle(CommittedModel):
    """Everything a model id stands for. Two bundles are the same model iff their `model_id` is equal.

    parameters: by index, of the graph's types. profile: None while the model is not calibrated. steps: how
    often a run repeats the graph, each step from the state in which the one before ended; 1 for inference.
    input_names: of a traced model; no id depends on them, and a model from a store knows its inputs by position alone.

    A run takes its inputs as `trace` takes its examples: by position, in the graph's order, or by name, or the first
    ones by position and the others by name.

    Raises ModelError or ProfileError where the parts do not belong together.
    """

    graph: Graph
    parameters: tuple[Tensor, ...]
    profile: Profile | None = None
    steps: int = 1
    input_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.parameters) != self.graph.parameter_count:
            count = self.graph.parameter_count
            raise ModelError(f"the graph has {count} parameters, not {len(self.parameters)}")
        for index, tensor in enumerate(self.parameters):
            expected, found = self.graph.types[self.graph.value_of_parameter(index)], TensorType.of(tensor)
            if found != expected:
                raise ModelError(f"parameter {index} has type {found}, but the graph needs {expected}")
        nodes = len(self.graph)
        if not 1 <= self.steps <= MAX_OPERATORS // nodes:
            raise ModelError(
                f"{self.steps} steps of {nodes} operators are not 1 to {MAX_OPERATORS} operators"
            )
        first, last = ([self.graph.types[value] for value in self.graph.live(cut)] for cut in (0, nodes))
        if self.steps > 1 and first != last:
            begin, end = (", ".join(map(str, types)) for types in (first, last))
            raise ModelError(f"a step cannot begin with {begin} where the one before ends with {end}")
        if self.profile is not None:
            self.profile.require(self.graph.root, len(self.graph))

    @cached_property
    def parameter_commitments(self) -> tuple[bytes, ...]:
        return tuple(commit(tensor) for tensor in self.parameters)

    def parameter_path(self, index: int) -> list[bytes]:
        """Merkle path of a parameter's commitment under `weights_root`."""
        return merkle.path(self.parameter_commitments, index)

    def parameter_tree(self, index: int) -> TensorTree:
        """The tree that opens elements of a parameter, built on first use."""
        if index not in self._trees:
            self._trees[index] = TensorTree(self.parameters[index])
        return self._trees[index]

    @cached_property
    def _trees(self) -> dict[int, TensorTree]:
        return {}

    def run(self, args: Sequence[Tensor], kwargs: Mapping[str, Tensor] | None = None) -> Receipt:
        """Run the model, or one of its steps, with this machine's kernels and commit to inputs and outputs.

        The receipt's values are the tensors that the module returns, in the order of its tuple, dict or dataclass.
        Raises ModelError where the inputs do not fit the graph.
        """
        return receipt.run(lambda *given: self._executor.run(given), self._inputs(args, kwargs))

    def capture(
        self,
        args: Sequence[Tensor],
        kwargs: Mapping[str, Tensor] | None = None,
        cuts: Iterable[int] | None = None,
    ) -> dict[int, tuple[Tensor, ...]]:
        """The states of a run for `verify`: the values live at cuts, or without any given at all 0 to n of them.

        Cut i is before operator i, n after the last. Raises ModelError where inputs or cuts do not fit the graph.
        """
        cuts = range(len(self.graph) + 1) if cuts is None else cuts
        return capture(self.graph, self.parameters, self._inputs(args, kwargs), cuts)

    def verify(
        self,
        claimed: Receipt,
        args: Sequence[Tensor],
        kwargs: Mapping[str, Tensor] | None = None,
        states: Mapping[int, Sequence[Tensor]] | None = None,
    ) -> Report:
        """Whether a run's outputs are plausible, and given `states`, by cut, which operator is to blame.

        See tao.verification. An honest prover gets the states with `capture`.
        """
        from tao.verification import verify  # which itself builds on this module

        return verify(self, claimed, self._inputs(args, kwargs), states)

    def _inputs(self, args: Sequence[Tensor], kwargs: Mapping[str, Tensor] | None) -> tuple[Tensor, ...]:
        """The graph's inputs in its order."""
        args, kwargs = arguments(args, kwargs)
        if kwargs and self.input_names is None:
            raise ModelError(
                "only a traced model knows its inputs by name; give them as a tuple, in the graph's order"
            )
        names = self.input_names[len(args) :] if kwargs else ()
        if set(kwargs) != set(names):
            given, known = (", ".join(map(str, each)) or "none" for each in (kwargs, names))
            raise ModelError(f"inputs by name: {given}; the model has {known} there")
        inputs = (*args, *(kwargs[name] for name in names))
        if len(inputs) != self.graph.input_count:
            raise ModelError(f"the model takes {self.graph.input_count} inputs, and {len(inputs)} are given")
        return inputs

    def __getstate__(self) -> dict[str, Any]:
        """Without what is cached: kernels cannot be pickled."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _executor(self) -> Executor:
        return Executor(self.graph, self.parameters)

    def save(self, store: TensorStore | str) -> bytes:
        """Put graph, parameters (each once), profile and a manifest into a store; returns the model id."""
        store = store if isinstance(store, TensorStore) else TensorStore(store)
        manifest = {
            "format": FORMAT,
            "graph": store.put_blob(self.graph.to_json()).hex(),
            "parameters": [store.put_tensor(tensor).hex() for tensor in self.parameters],
            "profile": None if self.profile is None else store.put_blob(self.profile.to_json()).hex(),
            "steps": self.steps,
        }
        store.put_named(_manifest_name(self.model_id), canonical_json(manifest))
        return self.model_id

    @classmethod
    def load(cls, store: TensorStore | str, model_id: bytes | str) -> ModelBundle:
        """Read a model and verify all of it against its id: 32 bytes, or their hex.

        Raises StoreError where something is missing or corrupt, ModelError where the parts are not those of
        the id.
        """
        store = store if isinstance(store, TensorStore) else TensorStore(store)
        model_id = _model_id(model_id)
        outline = ModelOutline.load(store, model_id)
        graph, commitments = outline.graph, outline.parameter_commitments
        kinds = graph.types[graph.input_count : graph.input_count + graph.parameter_count]
        tensors = {
            commitment: store.get_tensor(commitment, kind)
            for commitment, kind in dict(zip(commitments, kinds, strict=True)).items()
        }
        parameters = tuple(tensors[commitment] for commitment in commitments)
        bundle = cls(graph, parameters, outline.profile, outline.steps)
        # The store has just hashed every tensor against these.
        vars(bundle)["parameter_commitments"] = commitments
        return bundle


def trace(module: torch.nn.Module, args: tuple, kwargs: Mapping[str, Any] | None = None) -> ModelBundle:
    """The uncalibrated model of a torch module at the shapes of `args` and `kwargs`; raises as `export`.

    Its inputs are the tensors of `args` and then of `kwargs`, in the order given; whatever else is among them is part
    of the model.
    """
    graph, parameters = export(module, args, kwargs)
    names = input_names(module, args, kwargs)
    return ModelBundle(graph, tuple(parameters[i] for i in range(graph.parameter_count)), input_names=names)


def _model_id(given: bytes | str) -> bytes:
    try:
        model_id = bytes.fromhex(given.removeprefix("0x")) if isinstance(given, str) else given
    except ValueError:
        model_id = b""
    if not isinstance(model_id, bytes) or len(model_id) != 32:
        raise ModelError(f"{given!r} is no model id; give its 32 bytes, or these in hex")
    return model_id


def _manifest_name(model_id: bytes) -> str:
    return f"models/{model_id.hex()}.json"


def _read_manifest(data: bytes, model_id: bytes) -> tuple[bytes, tuple[bytes, ...], bytes | None, int]:
    try:
        manifest = parse_json(data)
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r} is not {FORMAT}")
        profile, steps = manifest["profile"], manifest["steps"]
        if type(steps) is not int or not 1 <= steps <= MAX_OPERATORS:
            raise ValueError(f"steps {steps!r} is not a number from 1 to {MAX_OPERATORS}")
        parameters = tuple(bytes.fromhex(item) for item in manifest["parameters"])
        if any(len(commitment) != 32 for commitment in parameters):
            raise ValueError("a commitment of a parameter has other than 32 bytes")
        return (
            bytes.fromhex(manifest["graph"]),
            parameters,
            None if profile is None else bytes.fromhex(profile),
            steps,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"the manifest of model 0x{model_id.hex()} is malformed: {error!r}") from error
