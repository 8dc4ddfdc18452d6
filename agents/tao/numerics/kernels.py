"""The kernels of this process: what the vendor's need before their first use, and schedules that CPU libraries do not
offer but accelerators use, installed under ATen's own operators.

The latter replace CPU kernels of the whole process, below the dispatcher, so composite operators reach them too.
"""

import math
import threading
import warnings
from collections.abc import Callable
from functools import cache, reduce

import numpy as np
import torch
from torch import Tensor

_libraries: list[torch.library.Library] = []  # an override lives as long as its library object
_preparing = threading.Lock()


def prepare() -> None:
    """Have vendor kernels compute what the bounds hold for, from the first call on. Costs nothing a second time."""
    with _preparing:
        _prepare()


@cache
def _prepare() -> None:
    # Where oneDNN does not convolve, NNPACK does by Winograd's algorithm, which is no sum of products.
    torch.backends.nnpack.set_flags(False)
    warm_up()


def warm_up() -> None:
    """Run each vectorised elementary function once, on one element.

    oneMKL's vector mathematics resolves its kernels at the first call of each function. When several threads
    make that call at once, one of them may run a kernel of 12 bits on its share of the tensor (pytorch issue
    188792). One thread calling alone removes the race; an honest prover must not be caught by it.
    """
    names = "sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh"
    functions = [getattr(torch, name) for name in (names + " erf erfc erfinv sigmoid trunc lgamma").split()]
    gelu = torch.nn.functional.gelu
    for dtype in (torch.float32, torch.float64):
        x = torch.full((1,), 0.5, dtype=dtype, device="cpu")
        for function in (*functions, gelu, torch.nn.functional.silu):
            function(x)
        gelu(x, approximate="tanh")
        torch.pow(x, 1.5)


def _override(implementations: dict[str, Callable]) -> None:
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns of exactly the replacement meant here
        for name, function in implementations.items():
            library.impl(name, function, "CPU", allow_override=True)
    _libraries.append(library)


def _pairwise(terms: list[Tensor]) -> Tensor:
    while len(terms) > 1:
        odd = terms[-1:] if len(terms) % 2 else []
        terms = [left + right for left, right in zip(terms[::2], terms[1::2], strict=False)] + odd
    return terms[0]


def _one_after_another(terms: list[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def split_contractions(parts: int, sequential: bool = False) -> None:
    """Compute mm, bmm and addmm as the sum of `parts` contractions over fewer lanes (split-K).

    The parts are added pairwise, or one after another.
    """
    add_up = _one_after_another if sequential else _pairwise

    # The overloads with `out` are separate kernels of the dispatcher, so they still are the vendor's.
    def split(product: Callable, a: Tensor, b: Tensor) -> Tensor:
        shape = (*a.shape[:-1], b.shape[-1])
        lanes = zip(a.chunk(parts, -1), b.chunk(parts, -2), strict=True)
        return add_up([product(x, y, out=a.new_empty(shape)) for x, y in lanes])

    def mm(a, b):
        return split(torch.mm, a, b)

    def bmm(a, b):
        return split(torch.bmm, a, b)

    def addmm(bias, a, b, *, beta=1, alpha=1):
        product = split(torch.mm, a, b)
        return (product if alpha == 1 else product * alpha) + (bias if beta == 1 else bias * beta)

    _override({"mm": mm, "bmm": bmm, "addmm": addmm})


def use_numpy() -> None:
    """Compute mm, bmm and addmm with NumPy's BLAS, and sums and means over dimensions in NumPy's order."""

    def product(a: Tensor, b: Tensor) -> Tensor:
        if a.dtype not in (torch.float32, torch.float64):
            out = a.new_empty((*a.shape[:-1], b.shape[-1]))
            return (torch.mm if a.dim() == 2 else torch.bmm)(a, b, out=out)
        return torch.from_numpy(np.matmul(a.detach().numpy(), b.detach().numpy()))

    def addmm(bias, a, b, *, beta=1, alpha=1):
        found = product(a, b)
        return (found if alpha == 1 else found * alpha) + (bias if beta == 1 else bias * beta)

    def total(x, dims, keepdim=False, *, dtype=None):
        axes = tuple(dims or range(x.dim()))
        if dtype is not None or x.dtype not in (torch.float32, torch.float64) or not axes:
            kind = dtype or (x.dtype if x.is_floating_point() else torch.int64)
            return torch.sum(x, dims, keepdim, dtype=kind, out=x.new_empty(0, dtype=kind))
        return torch.from_numpy(np.asarray(np.add.reduce(x.detach().numpy(), axes, keepdims=keepdim)))

    def mean(x, dims, keepdim=False, *, dtype=None):
        count = math.prod(x.shape[d] for d in (dims or range(x.dim())))
        return total(x, dims, keepdim, dtype=dtype) / count

    _override({"mm": product, "bmm": product, "addmm": addmm, "sum.dim_IntList": total, "mean.dim": mean})


def compose_operators(parts: int) -> None:
    """Compute sums, means and norms as the pairwise sum of `parts` sums, and softmax, layer norm and gelu
    from elementary kernels, as compilers for accelerators do."""

    def total(x, dims, keepdim=False, *, dtype=None):
        dims = tuple(dims or range(x.dim()))
        if not dims:
            return x.clone() if dtype is None else x.to(dtype)
        if dtype is None and not x.is_floating_point():
            dtype = torch.int64
        out = [x.new_empty(0, dtype=dtype or x.dtype) for _ in range(parts)]
        chunks = x.chunk(parts, dims[0])
        return _pairwise([torch.sum(c, dims, keepdim, out=o) for c, o in zip(chunks, out, strict=False)])

    def mean(x, dims, keepdim=False, *, dtype=None):
        count = math.prod(x.shape[d] for d in (dims or range(x.dim())))
        return total(x, dims, keepdim, dtype=dtype or x.dtype) / count

    def norm(x, ord=2, dims=None, keepdim=False, *, dtype=None):
        if ord != 2:
            out = x.new_empty(0, dtype=dtype or x.dtype)
            return torch.linalg.vector_norm(x, ord, dims, keepdim, dtype=dtype, out=out)
        return total(x * x, dims, keepdim, dtype=dtype).sqrt()

    def softmax(x, dim, half_to_float):
        x = x.float() if half_to_float else x
        exponentials = (x - x.amax(dim, keepdim=True)).exp()
        return exponentials / total(exponentials, (dim,), True)

    def layer_norm(x, shape, weight, bias, eps):
        dims = tuple(range(-len(shape), 0))
        average = mean(x, dims, True)
        centred = x - average
        rstd = (mean(centred * centred, dims, True) + eps).rsqrt()
        y = centred * rstd
        y = y if weight is None else y * weight
        return (y if bias is None else y + bias), average, rstd

    def gelu(x, *, approximate="none"):
        if approximate == "tanh":
            return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)).tanh())
        return 0.5 * x * (1 + (x * math.sqrt(0.5)).erf())

    _override(
        {
            "sum.dim_IntList": total,
            "mean.dim": mean,
            "linalg_vector_norm": norm,
            "_softmax": softmax,
            "native_layer_norm": layer_norm,
            "gelu": gelu,
        }
    )
