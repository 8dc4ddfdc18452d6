"""What FILE.py:FUNCTION on a command line gives, with every mistake told in one sentence."""

import importlib.util
import inspect
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

from tao.errors import ModelError, TaoError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tao.graph import Graph
    from tao.training import TrainingJob


def load_samples(source: str) -> "tuple[nn.Module, list[tuple[Tensor, ...]]]":
    """The torch module and the argument tuples to calibrate on that FILE.py:FUNCTION returns.

    Raises ModelError where there is no such function, it fails, or returns something else.
    """
    from torch import nn

    made = _call(source)
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module)):
        raise ModelError(
            f"{source} returns {_kind(made)}; let it return a torch module and a list of argument tuples"
        )
    module, samples = made
    if not isinstance(samples, list | tuple):
        raise ModelError(f"{source} returns {_kind(samples)} as inputs; give a list of argument tuples")
    if not samples:
        raise ModelError(f"{source} returns no inputs; give at least one tuple of arguments to calibrate on")
    for index, sample in enumerate(samples):
        if not isinstance(sample, tuple):
            raise ModelError(f"input {index} of {source} is {_kind(sample)}; give a tuple such as (tensor,)")
    return module, list(samples)


def require_alike(source: str, samples: "list[tuple[Tensor, ...]]", graph: "Graph") -> None:
    """Raise ModelError where an input has not the types and shapes that the graph was traced for."""
    from torch import Tensor

    from tao.tensors import TensorType

    expected = list(graph.types[: graph.input_count])
    for index, sample in enumerate(samples):
        found = [TensorType.of(value) if isinstance(value, Tensor) else _kind(value) for value in sample]
        if found != expected:
            given, wanted = (", ".join(map(str, types)) for types in (found, expected))
            raise ModelError(
                f"input {index} of {source} is ({given}) and the model is traced for ({wanted}); "
                "give all inputs the same shapes"
            )


def load_job(source: str) -> "TrainingJob":
    """The training job of the arguments that FILE.py:FUNCTION returns. Raises as `tao.training.prepare`, too."""
    from tao.training import prepare

    made = _call(source)
    expected = "a dict of tao.training.prepare's arguments: module, optimizer, data, loss, steps, …"
    if not isinstance(made, dict):
        raise ModelError(f"{source} returns {_kind(made)}; let it return {expected}")
    try:
        inspect.signature(prepare).bind(**made)
    except TypeError as error:
        raise ModelError(f"{source} returns what prepare does not take ({error}); give {expected}") from error
    return prepare(**made)


def _call(source: str) -> Any:
    path, _, name = source.partition(":")
    if not name:
        raise ModelError(f"{source!r} names no function; give FILE.py:FUNCTION")
    if not Path(path).is_file():
        raise ModelError(f"there is no file {path}; give FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None:
        raise ModelError(f"{path} is no Python file; give FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the file does
        raise ModelError(f"{path} cannot be imported: {_told(error, path)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ModelError(f"{path} has no function {name}; give one that it defines")
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ModelError(f"{source} takes arguments ({error}); give a function without any") from error
    try:
        return function()
    except TaoError:
        raise
    except Exception as error:  # whatever the function does
        raise ModelError(f"{source} fails with {_told(error, path)}") from error


def _told(error: Exception, path: str) -> str:
    """An error of a file's code, with the last line of the file that led to it."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == path]
    where = f" in line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{where}: {error}"


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
