"""The nodes of a Ray cluster as devices."""

import pytest
import torch

from numerics.test_work import Net, sample
from tao.model import trace
from tao.numerics.calibrate import Settings, calibrate_on
from tao.numerics.cluster import ray_devices
from tao.numerics.process import step_together
from tao.numerics.variants import VariantError

ray = pytest.importorskip("ray", reason="calibrating on a cluster needs Ray")


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine."""
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    both = Cluster(initialize_head=True, head_node_args=options)
    del options["include_dashboard"]
    both.add_node(**options)
    both.wait_for_nodes()
    yield both
    both.shutdown()


@pytest.mark.timeout(300)
def test_every_node_is_a_device_and_they_calibrate_together(cluster):
    torch.manual_seed(1)
    bundle = trace(Net(), sample(0))
    with ray_devices(cluster.address, bundle) as devices:
        names = [device.name for device in devices]
        assert len(set(names)) == 2 and all("torch" in device.description for device in devices)
        for outputs in step_together(devices, bundle.graph, sample(1)):
            assert torch.equal(outputs[0][0], outputs[1][0])  # one machine: the same kernels
        profile = calibrate_on(devices, bundle, [sample(1), sample(2)], settings=Settings(fan_out=2))
        assert [device.name for device in profile.devices] == names and profile.samples == 2
        assert profile.segment(0, len(bundle.graph)).elements[-1] > 0
        devices[1].start("step")
        with pytest.raises(VariantError, match="failed"):  # there is no node after the last
            devices[1].finish()


def test_an_address_where_no_cluster_is_gives_one_sentence():
    with pytest.raises(VariantError, match="no Ray cluster answers at"):
        with ray_devices("nowhere", trace(Net(), sample(0))):
            pass
