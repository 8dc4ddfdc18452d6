import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings

from tao.errors import InvalidTensor, OutOfReach, StoreError
from tao.tensors import TensorStore, TensorType, commit, store
from tao.tensors.keccak import keccak

from .strategies import same_bits, tensors

VALUES = torch.arange(300, dtype=torch.float32).view(3, 100)


@pytest.fixture
def folder(tmp_path: Path) -> TensorStore:
    return TensorStore(tmp_path / "store")


def file_of(kept: TensorStore, commitment: bytes) -> Path:
    return Path(kept.url) / "tensors" / f"{commitment.hex()}.safetensors"


def objects(kept: TensorStore) -> set[str]:
    return {str(path.relative_to(kept.url)) for path in Path(kept.url).rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(store, "_RETRYING", store._RETRYING.copy(sleep=lambda _: None))


@given(tensors())
@settings(deadline=None, max_examples=50)
def test_tensors_come_back_bit_for_bit(tensor):
    kept = TensorStore(f"memory://{uuid.uuid4().hex}")
    commitment = kept.put_tensor(tensor)
    assert commitment == commit(tensor)
    returned = kept.get_tensor(commitment)
    assert TensorType.of(returned) == TensorType.of(tensor)
    assert same_bits(returned, tensor)


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
def test_paths_and_urls_hold_objects_under_documented_names(tmp_path, scheme):
    kept = TensorStore(f"{scheme}{tmp_path}/store")
    commitment, digest = kept.put_tensor(VALUES), kept.put_blob(b"blob")
    kept.put_named("models/a.json", b"{}")
    names = {name.partition("/store/")[2] for name in kept._filesystem.find(kept._root)}
    assert names == {
        f"tensors/{commitment.hex()}.safetensors",
        f"blobs/{digest.hex()}",
        "named/models/a.json",
    }
    assert kept.get_blob(digest) == b"blob" and kept.get_named("models/a.json") == b"{}"


def test_the_packed_type_is_in_the_metadata(folder):
    with safetensors.safe_open(file_of(folder, folder.put_tensor(VALUES)), "pt") as file:
        assert bytes.fromhex(file.metadata()["type"]) == TensorType.of(VALUES).pack()


def test_a_second_put_writes_nothing_and_counters_count_objects(folder):
    commitment = folder.put_tensor(VALUES)
    size = file_of(folder, commitment).stat().st_size
    folder.put_tensor(VALUES)
    digest = folder.put_blob(b"12345")
    folder.put_blob(b"12345")
    assert (folder.bytes_written, folder.bytes_read) == (size + 5, size + 5)
    folder.get_tensor(commitment)
    folder.get_blob(digest)
    assert (folder.bytes_written, folder.bytes_read) == (size + 5, 2 * (size + 5))


def test_names_are_replaced(folder):
    folder.put_named("latest", b"one")
    folder.put_named("latest", b"two")
    assert folder.get_named("latest") == b"two"


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", "a//b", "a/", ".hidden", "a b", "a\n"])
def test_names_that_could_leave_the_store_are_refused(folder, name):
    with pytest.raises(StoreError, match="cannot name an object"):
        folder.put_named(name, b"")


def swapped_payload(data: bytes) -> bytes:
    return safetensors.torch.save({"tensor": VALUES + 1})


def other_key(data: bytes) -> bytes:
    return safetensors.torch.save({"weights": VALUES})


def empty_tensor(data: bytes) -> bytes:
    return safetensors.torch.save({"tensor": VALUES[:0]})


def same_bytes_another_shape(data: bytes) -> bytes:
    return safetensors.torch.save({"tensor": VALUES.view(100, 3)})


def flipped_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def truncated(data: bytes) -> bytes:
    return data[:-1]


def cut_header(data: bytes) -> bytes:
    return data[:5]


def emptied(data: bytes) -> bytes:
    return b""


def beyond_any_tensor(data: bytes) -> bytes:
    header = b'{"tensor":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}}'
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    "corrupt",
    [
        swapped_payload,
        other_key,
        empty_tensor,
        same_bytes_another_shape,
        flipped_bit,
        truncated,
        cut_header,
        emptied,
        beyond_any_tensor,
    ],
)
def test_a_corrupt_tensor_is_named_and_refused(folder, corrupt):
    commitment = folder.put_tensor(VALUES)
    file = file_of(folder, commitment)
    file.write_bytes(corrupt(file.read_bytes()))
    with pytest.raises(StoreError, match=rf"tensors/{commitment.hex()}.* is corrupt: .*store it again"):
        folder.get_tensor(commitment)


@pytest.mark.parametrize("corrupt", [emptied, flipped_bit, swapped_payload, lambda data: data * 2])
def test_storing_a_tensor_again_mends_what_lies_in_its_place(folder, corrupt):
    commitment = folder.put_tensor(VALUES)
    good = file_of(folder, commitment).read_bytes()
    file_of(folder, commitment).write_bytes(corrupt(good))
    assert folder.put_tensor(VALUES) == commitment
    assert file_of(folder, commitment).read_bytes() == good


def test_storing_a_blob_again_mends_what_lies_in_its_place(folder):
    digest = folder.put_blob(b"blob")
    (Path(folder.url) / "blobs" / digest.hex()).write_bytes(b"blub")
    folder.put_blob(b"blob")
    assert folder.get_blob(digest) == b"blob"


def test_an_object_is_on_the_disk_before_it_has_its_name(folder, monkeypatch):
    flushed = []
    monkeypatch.setattr(store, "_flush", lambda path: flushed.append(objects(folder)))
    digest = folder.put_blob(b"blob")
    assert len(flushed) == 1 and f"blobs/{digest.hex()}" not in flushed[0]


def test_of_an_object_longer_than_it_may_be_no_more_is_read(folder, monkeypatch):
    commitment, digest = folder.put_tensor(VALUES), folder.put_blob(b"blob")
    with file_of(folder, commitment).open("r+b") as file:
        file.truncate(1 << 40)  # a hole, but in memory a terabyte
    with pytest.raises(StoreError, match="longer than the 66,736 bytes that it may have"):
        folder.get_tensor(commitment, TensorType.of(VALUES))
    assert folder.bytes_read == store.HEADER + 4 * VALUES.numel() + 1
    monkeypatch.setattr(store, "MOST_BYTES", 3)
    with pytest.raises(StoreError, match="longer than the 3 bytes"):
        folder.get_blob(digest)
    for put in (folder.put_blob, lambda data: folder.put_named("a", data)):
        with pytest.raises(StoreError, match="would have 4 bytes and nobody reads more than 3"):
            put(b"four")


def test_tensors_swapped_with_each_other_are_refused(folder):
    first, second = folder.put_tensor(VALUES), folder.put_tensor(VALUES + 1)
    contents = file_of(folder, first).read_bytes()
    file_of(folder, first).write_bytes(file_of(folder, second).read_bytes())
    file_of(folder, second).write_bytes(contents)
    for commitment, other in [(first, second), (second, first)]:
        with pytest.raises(StoreError, match=f"has the commitment {other.hex()}"):
            folder.get_tensor(commitment)


def test_a_corrupt_blob_is_refused(folder):
    digest = folder.put_blob(b"blob")
    (Path(folder.url) / "blobs" / digest.hex()).write_bytes(b"blub")
    with pytest.raises(StoreError, match=f"blobs/{digest.hex()}.* hashes to {keccak(b'blub').hex()}"):
        folder.get_blob(digest)


def test_missing_objects_are_named(folder):
    absent = bytes(32)
    for action in (folder.get_tensor, folder.get_blob):
        with pytest.raises(StoreError, match=f"{absent.hex()}.* is missing from the store {folder.url}"):
            action(absent)
    with pytest.raises(StoreError, match="named/nothing is missing"):
        folder.get_named("nothing")


def test_a_hash_of_the_wrong_length_is_refused(folder):
    with pytest.raises(StoreError, match="hash of 31 bytes names no object"):
        folder.get_tensor(bytes(31))


def test_uncommittable_tensors_are_not_stored(folder):
    with pytest.raises(InvalidTensor):
        folder.put_tensor(torch.empty(0))
    assert objects(folder) == set()


def test_a_url_nobody_serves_is_refused():
    with pytest.raises(StoreError, match="no filesystem serves nowhere://x"):
        TensorStore("nowhere://x")


class Flaky:
    """A filesystem whose named method fails a number of times before it does its work."""

    def __init__(self, filesystem, method: str, errors: list[Exception]):
        self._filesystem, self._method, self.errors = filesystem, method, errors

    def __getattr__(self, name):
        real = getattr(self._filesystem, name)
        if name != self._method:
            return real

        def fail(*args, **kwargs):
            if self.errors:
                raise self.errors.pop()
            return real(*args, **kwargs)

        return fail


@pytest.mark.parametrize("method", ["pipe_file", "mv", "makedirs"])
def test_a_write_outlives_passing_failures_and_leaves_one_object(folder, method):
    folder._filesystem = Flaky(folder._filesystem, method, [OSError("reset"), TimeoutError("slow")])
    digest = folder.put_blob(b"blob")
    assert objects(folder) == {f"blobs/{digest.hex()}"}


def test_a_read_outlives_passing_failures(folder):
    commitment = folder.put_tensor(VALUES)
    folder._filesystem = Flaky(folder._filesystem, "cat_file", [ConnectionResetError("reset")])
    assert torch.equal(folder.get_tensor(commitment), VALUES)


@pytest.mark.parametrize("method", ["pipe_file", "mv"])
def test_retries_are_bounded_and_leave_nothing_behind(folder, method):
    failing = Flaky(folder._filesystem, method, [OSError("down")] * 10)
    folder._filesystem = failing
    with pytest.raises(OutOfReach, match="blobs/.* is out of reach in the store .*down"):
        folder.put_blob(b"blob")
    assert len(failing.errors) == 10 - store.ATTEMPTS
    assert objects(folder) == set()


def test_a_refused_permission_is_not_retried(folder):
    failing = Flaky(folder._filesystem, "pipe_file", [PermissionError("no")] * 10)
    folder._filesystem = failing
    with pytest.raises(OutOfReach, match="out of reach"):
        folder.put_blob(b"blob")
    assert len(failing.errors) == 9


class Alien(Exception):
    """What an HTTP client raises for a status it does not like: no OSError."""


@pytest.mark.parametrize(("method", "use"), [("cat_file", "get_blob"), ("pipe_file", "put_blob")])
def test_errors_of_a_filesystem_that_are_its_own_are_store_errors(folder, method, use):
    digest, new = folder.put_blob(b"blob"), b"other"
    given = digest if use == "get_blob" else new
    failing = Flaky(folder._filesystem, method, [Alien("403")] * 10)
    folder._filesystem = failing
    with pytest.raises(OutOfReach, match="out of reach in the store .*403"):
        getattr(folder, use)(given)
    assert len(failing.errors) == 10 - store.ATTEMPTS and objects(folder) == {f"blobs/{digest.hex()}"}
    failing.errors = failing.errors[:1]
    assert getattr(folder, use)(given)


def test_want_of_memory_is_no_fault_of_the_store(folder):
    digest = folder.put_blob(b"blob")
    folder._filesystem = Flaky(folder._filesystem, "cat_file", [MemoryError()])
    with pytest.raises(MemoryError):
        folder.get_blob(digest)


CRASH = """
import os, sys, torch
from tao.tensors import TensorStore
kept = TensorStore(sys.argv[1])
kept._filesystem.mv = lambda *_: os._exit(9)
kept.put_tensor(torch.arange(300, dtype=torch.float32).view(3, 100))
"""


def test_a_crash_before_the_move_leaves_no_visible_object(folder):
    assert subprocess.run([sys.executable, "-c", CRASH, folder.url], check=False).returncode == 9
    assert len(objects(folder)) == 1  # the temporary file
    with pytest.raises(StoreError, match="missing"):
        folder.get_tensor(commit(VALUES))
    assert torch.equal(folder.get_tensor(folder.put_tensor(VALUES)), VALUES)


def test_concurrent_writers_and_readers_of_one_object_do_no_harm(folder):
    barrier, failures = threading.Barrier(8), []

    def work() -> None:
        own = TensorStore(folder.url)
        barrier.wait()
        try:
            for _ in range(5):
                own._write(
                    f"tensors/{commit(VALUES).hex()}.safetensors", safetensors.torch.save({"tensor": VALUES})
                )
                assert torch.equal(own.get_tensor(commit(VALUES)), VALUES)
        except (StoreError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert objects(folder) == {f"tensors/{commit(VALUES).hex()}.safetensors"}
