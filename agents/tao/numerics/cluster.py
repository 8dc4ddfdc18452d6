"""The nodes of a Ray cluster as devices: each runs the model with its own processor's kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tao.model import ModelBundle
from tao.numerics import variants
from tao.numerics.process import Remote
from tao.numerics.variants import VariantError


class RayDevice(Remote):
    """One node of the cluster; requests go to an actor that is bound to it."""

    def __init__(self, name: str, description: str, actor: Any) -> None:
        self.name, self.description = name, description
        self._actor, self._answer = actor, None

    def start(self, request: str, *arguments: Any) -> None:
        self._answer = self._actor.ask.remote(request, *arguments)

    def finish(self) -> Any:
        import ray

        try:
            return ray.get(self._answer)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise VariantError(f"the node {self.name!r} failed: {reason}") from error

    def close(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self._actor)


class _Actor:
    """The node's side: a model and the kernels that its processor chooses."""

    def __init__(self, graph: bytes, parameters: list) -> None:
        from tao.graph import Graph
        from tao.numerics.worker import Worker

        variants.configure_torch("native")
        self.worker = Worker(ModelBundle(Graph.from_json(graph), tuple(parameters)))

    def describe(self) -> str:
        return variants.describe("native")

    def ask(self, request: str, *arguments: Any) -> Any:
        return getattr(self.worker, request)(*arguments)


@contextmanager
def ray_devices(address: str, bundle: ModelBundle) -> Iterator[list[RayDevice]]:
    """One device for each live node of the cluster at `address`, in a stable order, with the model loaded.

    The nodes need this package. Raises VariantError without Ray, where no cluster answers, and where a node
    cannot load the model.
    """
    try:
        import ray
    except ImportError as error:
        raise VariantError(
            "calibrating on a cluster needs the package ray, which is not installed"
        ) from error
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise VariantError(f"no Ray cluster answers at {address}: {error}") from error
    devices: list[RayDevice] = []
    try:
        graph, parameters = ray.put(bundle.graph.to_json()), ray.put(list(bundle.parameters))
        alive = [node for node in ray.nodes() if node["Alive"]]
        alive.sort(key=lambda node: (node["NodeManagerHostname"], node["NodeManagerPort"]))
        for number, node in enumerate(alive):
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            actor = ray.remote(_Actor).options(scheduling_strategy=where).remote(graph, parameters)
            name = f"{node['NodeManagerHostname']}#{number}"
            devices.append(RayDevice(name, "", actor))
        for device in devices:
            device.description = _described(device)
        yield devices
    finally:
        for device in devices:
            device.close()
        ray.shutdown()


def _described(device: RayDevice) -> str:
    device._answer = device._actor.describe.remote()
    return device.finish()
