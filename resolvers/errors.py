"""What a caller did that cannot be answered. The message is one sentence for the caller."""


class ResolverError(Exception):
    """Root of the errors that resolvers raise."""


class UnauthenticatedError(ResolverError):
    """There is no credential, or it is not valid. It does not say which part of it is wrong."""


class ForbiddenError(ResolverError):
    """The row is in the credential's environment, and its scopes do not go so far."""

    def __init__(self, what: str, action: str = "read") -> None:
        super().__init__(f"the credential does not allow to {action} {what}")


class AbsentError(ResolverError):
    """There is no such thing that the viewer may see: all databases that could hold it were asked."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not found")


class BehindError(ResolverError):
    """A stream was read too slowly: there was more to tell than is kept."""

    def __init__(self) -> None:
        super().__init__("the stream is read too slowly: subscribe again for the state as it is")


class BadInputError(ResolverError):
    """An argument makes no sense."""
