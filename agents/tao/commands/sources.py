"""What FILE.py:FUNCTION on a command line gives, with every mistake told in one sentence."""

import importlib.util
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao.errors import ModelError, TaoError

if TYPE_CHECKING:
    from torch import Tensor, nn

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
        raise ModelError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
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
        raise ModelError(f"{source} fails with {type(error).__name__}: {error}") from error


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
