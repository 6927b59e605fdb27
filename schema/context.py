"""What a resolver of this package finds in `info.context`."""

from strawberry.fastapi import BaseContext

from resolvers.viewer import Viewer


class Context(BaseContext):
    """One request's context: its viewer."""

    def __init__(self, viewer: Viewer | None = None) -> None:
        super().__init__()
        self._viewer = viewer

    @property
    def viewer(self) -> Viewer:
        """Who asks. A request without a viewer never gets as far as a resolver."""
        if self._viewer is None:
            raise RuntimeError("a resolver ran without a viewer")
        return self._viewer
