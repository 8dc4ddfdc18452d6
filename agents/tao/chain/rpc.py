"""A connection to a node that outlives dropped connections."""

from collections.abc import Callable
from urllib.parse import urlsplit

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential
from web3 import HTTPProvider, Web3
from web3.exceptions import Web3Exception

from tao.errors import ChainError, TooLarge

PATIENCE = 60.0
"""Seconds for which one request is repeated before the node counts as unreachable."""
FIRST_PATIENCE = 5.0
"""The same before the node has ever answered: then the address is more likely wrong than the node overloaded."""
TELL_AFTER = 2.0
"""Seconds after which it is told that the node is waited for."""
TIMEOUTS = (FIRST_PATIENCE, 30)
"""Seconds to wait for a connection, and for an answer."""

_TRANSPORT = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_TOO_LARGE = 413
_OVERLOADED = frozenset({429, 500, 502, 503, 504})


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _OVERLOADED
    return isinstance(error, _TRANSPORT)


def shown(url: str) -> str:
    """The URL without its path and query, where providers put their customers' keys."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _session(url: str) -> requests.Session:
    """With the environment's proxies and certificates, looked up once: that costs more than a request."""
    session = requests.Session()
    for name, value in session.merge_environment_settings(url, {}, None, None, None).items():
        setattr(session, name, value)
    session.trust_env = False
    return session


class PatientProvider(HTTPProvider):
    """Repeats a request over a dropped connection or an overloaded node, with growing pauses.

    Every request of this package may be repeated: reads are, and a signed transaction has one hash however
    often it is sent (the sender treats "already known" as sent).
    """

    def __init__(self, url: str, patience: float = PATIENCE, tell: Callable[[str], None] = lambda line: None):
        """tell: called once with a line when the node is waited for, and again only after it has answered."""
        super().__init__(
            url,
            session=_session(url),
            request_kwargs={"timeout": TIMEOUTS},
            exception_retry_configuration=None,
        )
        self.patience = patience
        self._tell, self._is_told = tell, False

    def _make_request(self, method, request_data: bytes) -> bytes:
        retrying = Retrying(
            retry=retry_if_exception(_is_transient),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            stop=stop_after_delay(self.patience),
            before_sleep=self._say,
            reraise=True,
        )
        try:
            answer = retrying(super()._make_request, method, request_data)
            self._is_told = False
            return answer
        except requests.RequestException as error:
            if error.response is not None and error.response.status_code == _TOO_LARGE:
                raise TooLarge(
                    f"the node at {shown(str(self.endpoint_uri))} takes no request of {len(request_data):,} bytes"
                ) from error
            raise ChainError(
                f"cannot reach the node at {shown(str(self.endpoint_uri))} ({type(error).__name__}); "
                "check the RPC address and that the node is running"
            ) from error

    def _say(self, state: RetryCallState) -> None:
        if not self._is_told and state.seconds_since_start >= TELL_AFTER:
            self._is_told = True
            self._tell(f"waiting for the node at {shown(str(self.endpoint_uri))}")


def connect(
    url: str,
    patience: float = PATIENCE,
    first: float = FIRST_PATIENCE,
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> Web3:
    """A Web3 on an HTTP endpoint, checked to answer; raises ChainError where it does not.

    patience: seconds for which a request is repeated; the first one for `first` at most. tell: see PatientProvider.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ChainError(
            f"the RPC address {url!r} is not an http(s) URL; give one such as http://127.0.0.1:8545"
        )
    provider = PatientProvider(url, min(patience, first), tell)
    # Transactions are made and signed by the sender: of what web3's middleware checks or fills in, nothing is needed.
    w3 = Web3(provider, middleware=[])
    try:
        w3.eth.chain_id  # noqa: B018 - the access is the request
    except (Web3Exception, ValueError) as error:
        raise ChainError(f"the address {shown(url)} does not answer as an Ethereum node: {error}") from error
    provider.patience = patience
    return w3
