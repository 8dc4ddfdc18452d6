"""A content-addressed store of tensors and blobs on any fsspec filesystem.

    tensors/<commitment>.safetensors    one tensor, its packed type in the metadata
    blobs/<keccak>                      any bytes
    named/<name>                        any bytes, replaceable and not authenticated (manifests)

An object appears whole or not at all: it is written under a temporary name in its own folder, on a local disk
flushed to it, and then moved. What is read is hashed again and no longer than it may be, and what lies in the place
of an object to be stored is compared with it, so a store need not be trusted.
"""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Callable
from typing import TypeVar

import fsspec
import safetensors.torch
import torch
from fsspec.implementations.local import LocalFileSystem
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from tao.errors import OutOfReach, StoreError
from tao.tensors.codec import TensorType
from tao.tensors.keccak import keccak
from tao.tensors.tree import commit

T = TypeVar("T")

ATTEMPTS = 4
MOST_BYTES = 1 << 28
"""Of a blob or of named bytes: a graph, a profile, a step's log. Who reads a store that others write to has to hold
what they put there in memory."""
HEADER = 1 << 16
"""Bytes of a stored tensor before its elements, at most."""
_PERMANENT = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    MemoryError,
)
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class TensorStore:
    """Tensors by commitment, blobs by hash and named bytes under one URL. Safe to share between threads.

    bytes_read, bytes_written: bytes of objects moved through this instance.
    """

    def __init__(self, url: str | os.PathLike) -> None:
        """url: a directory, or any fsspec URL such as `memory://x` or `s3://bucket/x`.

        Raises StoreError where no filesystem serves the URL. Nothing is read or written yet.
        """
        try:
            self._filesystem, root = fsspec.core.url_to_fs(os.fspath(url))
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"no filesystem serves {url} ({error}); install its driver or use a path"
            ) from error
        self.url = os.fspath(url)
        self._is_local = isinstance(self._filesystem, LocalFileSystem)
        self._root = root.rstrip("/")
        self._lock = threading.Lock()
        self.bytes_read = 0
        self.bytes_written = 0

    def put_tensor(self, tensor: torch.Tensor) -> bytes:
        """Store a tensor unless it is there already; returns its commitment.

        Raises InvalidTensor where it has no commitment and StoreError where it cannot be written.
        """
        commitment = commit(tensor)
        dense = tensor.detach().resolve_neg().cpu().contiguous()
        metadata = {"type": TensorType.of(tensor).pack().hex()}
        self._keep(_tensor_path(commitment), safetensors.torch.save({"tensor": dense}, metadata))
        return commitment

    def get_tensor(self, commitment: bytes, kind: TensorType | None = None) -> torch.Tensor:
        """The tensor of a commitment, on the CPU; StoreError where it is missing or another.

        kind: its type, where that is known, so that no larger object is read; its type is not checked.
        """
        path = _tensor_path(commitment)
        data = self._read(path, None if kind is None else HEADER + kind.numel * kind.dtype.size)
        try:
            tensor = safetensors.torch.load(data)["tensor"]
            found = commit(tensor)
        except MemoryError:
            raise  # this machine's fault, not the object's
        except Exception as error:
            # Anybody may have written it, and what a decoder makes of that is not for it to document.
            what, *_ = str(error).splitlines() or [type(error).__name__]
            raise self._corrupt(path, f"it does not hold one tensor ({what})") from error
        if found != commitment:
            raise self._corrupt(path, f"its content has the commitment {found.hex()}")
        return tensor

    def put_blob(self, data: bytes) -> bytes:
        """Store MOST_BYTES bytes at most, unless they are there already; returns their keccak-256."""
        digest = keccak(data)
        path = _blob_path(digest)
        self._require_short(path, data)
        self._keep(path, data)
        return digest

    def get_blob(self, digest: bytes) -> bytes:
        """The bytes of a keccak-256 hash; StoreError where they are missing or hash to anything else."""
        path = _blob_path(digest)
        data = self._read(path, MOST_BYTES)
        if (found := keccak(data)) != digest:
            raise self._corrupt(path, f"its content hashes to {found.hex()}")
        return data

    def put_named(self, name: str, data: bytes) -> None:
        """Store MOST_BYTES bytes at most under a name such as `models/<id>.json`, replacing what was there."""
        path = _named_path(name)
        self._require_short(path, data)
        self._write(path, data)

    def get_named(self, name: str) -> bytes:
        """The bytes last stored under a name, unverified; StoreError where there are none."""
        return self._read(_named_path(name), MOST_BYTES)

    def has_named(self, name: str) -> bool:
        """Whether there are bytes under a name."""
        path = _named_path(name)
        return self._attempt(path, lambda: self._filesystem.exists(self._full(path)))

    def _keep(self, path: str, data: bytes) -> None:
        """Write an object unless the same bytes are there: others, or a disk that failed, may have put anything in its
        place."""
        try:
            is_there = self._read(path, len(data)) == data
        except StoreError:
            is_there = False
        if not is_there:
            self._write(path, data)

    def _read(self, path: str, most: int | None) -> bytes:
        """An object of `most` bytes at most; of a longer one no more than one byte beyond is read, as far as the
        filesystem reads parts."""
        span = {} if most is None else {"start": 0, "end": most + 1}
        data = self._attempt(path, lambda: self._filesystem.cat_file(self._full(path), **span))
        with self._lock:
            self.bytes_read += len(data)
        if most is not None and len(data) > most:
            raise self._corrupt(path, f"it is longer than the {most:,} bytes that it may have")
        return data

    def _require_short(self, path: str, data: bytes) -> None:
        if len(data) > MOST_BYTES:
            raise StoreError(
                f"{path} would have {len(data):,} bytes and nobody reads more than {MOST_BYTES:,}; store less"
            )

    def _write(self, path: str, data: bytes) -> None:
        self._attempt(path, lambda: self._place(self._full(path), data))
        with self._lock:
            self.bytes_written += len(data)

    def _place(self, path: str, data: bytes) -> None:
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            self._filesystem.pipe_file(temporary, data)
            if self._is_local:
                _flush(temporary)
            self._filesystem.mv(temporary, path)
        except Exception:
            if self._filesystem.exists(temporary):
                self._filesystem.rm_file(temporary)
            raise

    def _attempt(self, path: str, action: Callable[[], T]) -> T:
        """Run an action on an object, again where a remote filesystem may answer the next time."""
        try:
            return _RETRYING.copy()(action)
        except FileNotFoundError as error:
            raise StoreError(
                f"{path} is missing from the store {self.url}; check --store, or ask the publisher to upload it"
            ) from error
        except MemoryError:
            raise  # this machine's fault, not the store's
        except Exception as error:
            # Each filesystem has errors of its own, such as an HTTP client's, which are no OSError.
            raise OutOfReach(
                f"{path} is out of reach in the store {self.url} ({error}); check access"
            ) from error

    def _corrupt(self, path: str, reason: str) -> StoreError:
        return StoreError(f"{path} in the store {self.url} is corrupt: {reason}; delete and store it again")

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, _PERMANENT)


def _flush(path: str) -> None:
    """Have a local file on the disk: else a power loss may leave it empty under the name it is moved to."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


_RETRYING = Retrying(
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_exponential(multiplier=0.1, max=2),
    retry=retry_if_exception(_is_transient),
    reraise=True,
)


def _tensor_path(commitment: bytes) -> str:
    return f"tensors/{_hex(commitment)}.safetensors"


def _blob_path(digest: bytes) -> str:
    return f"blobs/{_hex(digest)}"


def _named_path(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise StoreError(f"{name!r} cannot name an object; use letters, digits, _ - . with / between parts")
    return f"named/{name}"


def _hex(digest: bytes) -> str:
    if len(digest) != 32:
        raise StoreError(f"a hash of {len(digest)} bytes names no object; hashes have 32")
    return digest.hex()
