"""Our session of botocore. Imported with the first client: botocore is large."""

from typing import Any

from botocore.session import Session


class GivenCredentials(Session):  # type: ignore[misc]  # botocore has no types
    """A session whose clients are made with credentials of ours, where there are any.

    ``given`` is set by whoever makes a client, one at a time. botocore itself takes other
    credentials than those of its chain as texts only, which cannot be renewed.
    """

    given: Any = None

    def get_credentials(self) -> Any:
        return self.given if self.given is not None else super().get_credentials()
