"""A Ray address that does not answer is one line, soon; what a node must have."""

import socket

import pytest

from compactmtl.errors import NotPossibleHereError, UsageError
from compactmtl.study.ray_pool import gpus_per_run
from compactmtl.study.ray_probe import living_nodes


@pytest.fixture
def listening():
    """A port that answers, but not as Ray does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_port_where_nothing_listens_is_found_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotPossibleHereError, match=f"nothing answers at `127.0.0.1:{port}`"):
        living_nodes(f"127.0.0.1:{port}")


def test_what_is_no_cluster_is_given_up_in_time(listening):
    with pytest.raises(NotPossibleHereError, match=r"no Ray cluster answers .* within 1 s"):
        living_nodes(listening, limit_s=1.0)


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:port", ""])
def test_what_is_no_address_is_said(address):
    with pytest.raises(NotPossibleHereError, match="expected HOST:PORT"):
        living_nodes(address)


CPUS, GPUS = [{"CPU": 2.0}, {"CPU": 4.0}, {}], [{"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0}]


def test_a_run_takes_a_gpu_where_there_is_one_unless_the_cpu_is_asked_for():
    assert gpus_per_run(CPUS, 4, "auto") == 0
    assert gpus_per_run(GPUS, 2, "auto") == 1
    assert gpus_per_run(GPUS, 8, "cpu") == 0


@pytest.mark.parametrize(
    ("nodes", "cpus", "device", "words"),
    [
        (CPUS, 5, "auto", "the largest node of the cluster has 4"),
        (GPUS, 3, "auto", "has 2"),  # the node with the GPU
        (CPUS, 1, "cuda", "no node of the cluster has a GPU"),
        ([], 1, "cpu", "has 0"),
    ],
)
def test_what_no_node_has_would_be_waited_for_in_vain(nodes, cpus, device, words):
    with pytest.raises(UsageError, match=words):
        gpus_per_run(nodes, cpus, device)
