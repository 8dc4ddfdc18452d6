"""JSON from strangers."""

import json

import pytest

from tao.untrusted import MAX_DEPTH, parse_json


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_nesting_up_to_the_limit_is_read_and_beyond_it_is_refused():
    assert parse_json(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))
    with pytest.raises(ValueError, match=f"{MAX_DEPTH + 1} deep"):
        parse_json(nested(MAX_DEPTH + 1))


NESTED = {"lists": b"[" * 10**6, "objects": b'{"a":' * 10**6, "text": b'["]]]]",' * 10**5}
NESTED |= {"escapes": b'["\\"]]",' * 10**5}


@pytest.mark.parametrize("data", NESTED.values(), ids=NESTED)
def test_a_file_of_brackets_cannot_exhaust_the_stack(data):
    with pytest.raises(ValueError):
        parse_json(data)


def test_brackets_in_strings_do_not_count():
    assert parse_json(json.dumps(["[" * 1000]).encode()) == ["[" * 1000]
