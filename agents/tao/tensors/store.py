"""A content-addressed store of tensors and blobs on any fsspec filesystem.

    tensors/<commitment>.safetensors    one tensor, its packed type in the metadata
    blobs/<keccak>                      any bytes
    named/<name>                        any bytes, replaceable and not authenticated (manifests)

An object appears whole or not at all: it is written under a temporary name in its own folder and then moved.
What is read is hashed again, so a store need not be trusted.
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
from safetensors import SafetensorError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from tao.errors import InvalidTensor, StoreError
from tao.tensors.codec import TensorType
from tao.tensors.keccak import keccak
from tao.tensors.tree import commit

T = TypeVar("T")

ATTEMPTS = 4
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
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
        self._root = root.rstrip("/")
        self._lock = threading.Lock()
        self.bytes_read = 0
        self.bytes_written = 0

    def put_tensor(self, tensor: torch.Tensor) -> bytes:
        """Store a tensor unless it is there already; returns its commitment.

        Raises InvalidTensor where it has no commitment and StoreError where it cannot be written.
        """
        commitment = commit(tensor)
        path = _tensor_path(commitment)
        if not self._exists(path):
            dense = tensor.detach().resolve_neg().cpu().contiguous()
            metadata = {"type": TensorType.of(tensor).pack().hex()}
            self._write(path, safetensors.torch.save({"tensor": dense}, metadata))
        return commitment

    def get_tensor(self, commitment: bytes) -> torch.Tensor:
        """The tensor of a commitment, on the CPU; StoreError where it is missing or another."""
        path = _tensor_path(commitment)
        data = self._read(path)
        try:
            tensor = safetensors.torch.load(data)["tensor"]
            found = commit(tensor)
        except (SafetensorError, KeyError, InvalidTensor) as error:
            raise self._corrupt(path, f"it does not hold one tensor ({error})") from error
        if found != commitment:
            raise self._corrupt(path, f"its content has the commitment {found.hex()}")
        return tensor

    def put_blob(self, data: bytes) -> bytes:
        """Store bytes unless they are there already; returns their keccak-256."""
        digest = keccak(data)
        path = _blob_path(digest)
        if not self._exists(path):
            self._write(path, data)
        return digest

    def get_blob(self, digest: bytes) -> bytes:
        """The bytes of a keccak-256 hash; StoreError where they are missing or hash to anything else."""
        path = _blob_path(digest)
        data = self._read(path)
        if (found := keccak(data)) != digest:
            raise self._corrupt(path, f"its content hashes to {found.hex()}")
        return data

    def put_named(self, name: str, data: bytes) -> None:
        """Store bytes under a name such as `models/<id>.json`, replacing what was there."""
        self._write(_named_path(name), data)

    def get_named(self, name: str) -> bytes:
        """The bytes last stored under a name, unverified; StoreError where there are none."""
        return self._read(_named_path(name))

    def has_named(self, name: str) -> bool:
        """Whether there are bytes under a name."""
        return self._exists(_named_path(name))

    def _exists(self, path: str) -> bool:
        return self._attempt(path, lambda: self._filesystem.exists(self._full(path)))

    def _read(self, path: str) -> bytes:
        data = self._attempt(path, lambda: self._filesystem.cat_file(self._full(path)))
        with self._lock:
            self.bytes_read += len(data)
        return data

    def _write(self, path: str, data: bytes) -> None:
        self._attempt(path, lambda: self._place(self._full(path), data))
        with self._lock:
            self.bytes_written += len(data)

    def _place(self, path: str, data: bytes) -> None:
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            self._filesystem.pipe_file(temporary, data)
            self._filesystem.mv(temporary, path)
        except OSError:
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
        except OSError as error:
            raise StoreError(
                f"{path} is out of reach in the store {self.url} ({error}); check access"
            ) from error

    def _corrupt(self, path: str, reason: str) -> StoreError:
        return StoreError(f"{path} in the store {self.url} is corrupt: {reason}; delete and store it again")

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, OSError) and not isinstance(error, _PERMANENT)


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
