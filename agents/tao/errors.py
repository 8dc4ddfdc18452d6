"""Errors with one sentence each: what is wrong, with which thing, and what to do about it."""


class TaoError(Exception):
    """Base of every error this package raises on purpose."""


class UnsupportedOperator(TaoError):
    """A model uses an operator, a type or a shape that cannot be committed."""


class InvalidTensor(TaoError):
    """A tensor cannot be committed or opened as asked."""


class StoreError(TaoError):
    """A stored object is missing, corrupt or unreachable."""


class OutOfReach(StoreError):
    """A store does not serve an object that it may have: what is there is not known."""


class ModelError(TaoError):
    """A model bundle does not fit its commitments."""


class NoResult(ModelError):
    """An operator has no result on the values it is given, such as a look-up outside its table. No honest run goes
    on from there. What fails for want of memory, say, is this machine's fault and another error."""


class ProfileError(TaoError):
    """A tolerance profile is malformed or belongs to another model."""


class DeploymentError(TaoError):
    """A deployment record is missing or does not describe what is on the chain."""


class ChainError(TaoError):
    """A transaction or a query could not be carried out."""


class TooLarge(ChainError):
    """A transaction has more bytes, or takes more gas, than a node or a block takes: it will not do any later."""


def sentence(error: Exception) -> str:
    """What failed, for people; with its kind where it is no error of ours."""
    return str(error) if isinstance(error, TaoError) else f"{type(error).__name__}: {error}"
