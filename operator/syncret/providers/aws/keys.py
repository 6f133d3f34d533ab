"""Access keys, as botocore signs with them, which nothing prints by accident."""

from typing import Any, Final, NoReturn

FOREVER: Final = float("inf")


class Keys:
    """An access key; with ``token`` a temporary one, good for ``seconds`` from when it was got."""

    __slots__ = ("access_key", "account_id", "seconds", "secret_key", "token")

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        token: str | None = None,
        *,
        seconds: float = FOREVER,
    ) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token
        self.account_id: str | None = None  # botocore asks; no endpoint that we use depends on it
        self.seconds = seconds

    def get_frozen_credentials(self) -> "Keys":
        """What botocore asks for each signature."""
        return self

    def get_deferred_property(self, name: str) -> Any:
        """What botocore asks for what it may not need to know."""
        return lambda: getattr(self, name)

    def __repr__(self) -> str:
        return "Keys(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("access keys cannot be pickled or copied to another process")


class Renewed:
    """Credentials of a client whose keys are replaced as a whole while it is in use."""

    def __init__(self) -> None:
        self.keys = Keys("", "")

    @property
    def access_key(self) -> str:
        return self.keys.access_key

    @property
    def secret_key(self) -> str:
        return self.keys.secret_key

    @property
    def token(self) -> str | None:
        return self.keys.token

    @property
    def account_id(self) -> str | None:
        return None

    def get_frozen_credentials(self) -> Keys:
        """What botocore asks for each signature: all of it from one login."""
        return self.keys

    def get_deferred_property(self, name: str) -> Any:
        return lambda: getattr(self.keys, name)

    def __repr__(self) -> str:
        return "Renewed(…)"
