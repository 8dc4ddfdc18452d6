import struct

import pytest
import torch
from hypothesis import given, settings

from tao.errors import InvalidTensor
from tao.tensors import DType, TensorType, commit, decode, encode

from .reference import CODES, packed_type, rows_of
from .strategies import same_bits, tensors


def test_dtype_codes_are_those_of_the_specification():
    assert {dtype: DType.of(dtype) for dtype in CODES} == CODES
    assert all(
        code.torch == dtype and code.size == dtype.itemsize
        for dtype, code in zip(CODES, map(DType, CODES.values()), strict=True)
    )


@given(tensors())
@settings(deadline=None)
def test_encoding_is_big_endian_in_logical_order_and_decodes_to_the_same_bits(tensor):
    data = encode(tensor)
    assert data == b"".join(rows_of(tensor))
    decoded = decode(data, TensorType.of(tensor))
    assert decoded.dtype == tensor.dtype and decoded.shape == tensor.shape
    assert same_bits(decoded, tensor)


@given(tensors())
@settings(deadline=None)
def test_types_pack_and_unpack(tensor):
    tensor_type = TensorType.of(tensor)
    assert tensor_type.pack() == packed_type(tensor)
    assert TensorType.unpack(tensor_type.pack()) == tensor_type


def test_nan_payloads_infinities_and_negative_zero_survive():
    words = [0x7FC00001, 0xFFC00000, 0x7F800001, 0x7F800000, 0xFF800000, 0x80000000, 0x00000001]
    data = struct.pack(">7I", *words)
    tensor = decode(data, TensorType(DType.FLOAT32, (7,)))
    assert tensor.isnan().tolist() == [True] * 3 + [False] * 4
    assert encode(tensor) == data


@pytest.mark.parametrize(
    ("shape", "rows", "chunks", "row_height", "height"),
    [
        ((), 1, 1, 0, 0),
        ((1,), 1, 1, 0, 0),
        ((64,), 1, 1, 0, 0),
        ((65,), 1, 2, 1, 1),
        ((1000,), 1, 16, 4, 4),
        ((1025,), 1, 17, 5, 5),
        ((9, 1), 9, 1, 0, 4),
        ((2, 3, 129), 6, 3, 2, 5),
    ],
)
def test_tree_sizes_of_float32(shape, rows, chunks, row_height, height):
    t = TensorType(DType.FLOAT32, shape)
    assert (t.rows, t.chunks_per_row, t.row_height, t.height) == (rows, chunks, row_height, height)


def test_a_type_is_written_as_people_write_it():
    assert str(TensorType(DType.FLOAT32, (2, 8))) == "float32[2, 8]"
    assert str(TensorType(DType.BOOL, ())) == "bool[]"


def test_sizes_of_a_type():
    t = TensorType(DType.BFLOAT16, (2, 3, 5))
    assert (t.numel, t.row_length, t.row_size) == (30, 5, 10)


def uncommittable():
    quantized = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)], layout=torch.jagged)
    return [
        (torch.empty(3, 0), r"shape \(3, 0\) is empty"),
        (torch.ones(2, dtype=torch.complex64), "dtype complex64 cannot be committed"),
        (torch.ones(2, dtype=torch.uint16), "dtype uint16 cannot be committed"),
        (quantized, "dtype qint8 cannot be committed"),
        (torch.ones(2, 2).to_sparse(), "layout sparse_coo cannot be committed"),
        (torch.ones(2, 2).to_sparse_csr(), "layout sparse_csr cannot be committed"),
        (nested, "layout nested cannot be committed"),
        (torch.ones(2, device="meta"), "meta device has no values"),
        ([1.0, 2.0], "list is no torch.Tensor"),
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("tensor", "sentence"), uncommittable(), ids=lambda value: str(value)[:24])
def test_uncommittable_tensors_are_named(tensor, sentence):
    for action in (encode, commit):
        with pytest.raises(InvalidTensor, match=sentence):
            action(tensor)


def test_a_size_beyond_32_bits_is_refused():
    with pytest.raises(InvalidTensor, match="outside 1..2"):
        TensorType.of(torch.empty(1).expand(2**32))


@pytest.mark.parametrize(
    "data", [b"", b"\x06", b"\x06\x01", b"\x06\x01\0\0\0\x01\0", b"\x0a\x00", b"\x06\x01\0\0\0\0"]
)
def test_malformed_types_are_refused(data):
    with pytest.raises(InvalidTensor):
        TensorType.unpack(data)


def test_bytes_of_the_wrong_length_are_refused():
    with pytest.raises(InvalidTensor, match=r"7 bytes given for float32\[2\]; expected 8"):
        decode(bytes(7), TensorType(DType.FLOAT32, (2,)))


def test_a_bool_that_is_neither_0_nor_1_is_refused():
    with pytest.raises(InvalidTensor, match="neither 0 nor 1"):
        decode(b"\x02", TensorType(DType.BOOL, (1,)))


def test_views_with_gradients_and_lazy_negation_encode_their_values():
    leaf = torch.ones(3, requires_grad=True)
    assert encode(leaf * 2) == struct.pack(">3f", 2, 2, 2)
    imaginary = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert imaginary.is_neg()
    assert encode(imaginary) == struct.pack(">2f", -2, 4)
