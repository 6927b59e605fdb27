"""What a resolver of this package finds in `info.context`."""

from strawberry.fastapi import BaseContext

from resolvers.auth import Asker
from resolvers.viewer import Viewer


class Context(BaseContext):
    """One operation's context: its viewer, and who may be asked for another one."""

    def __init__(self, viewer: Viewer | None = None, asker: Asker | None = None) -> None:
        super().__init__()
        self._viewer, self._asker = viewer, asker

    @property
    def viewer(self) -> Viewer:
        """Who asks. A request without a viewer never gets as far as a resolver."""
        if self._viewer is None:
            raise RuntimeError("a resolver ran without a viewer")
        return self._viewer

    @viewer.setter
    def viewer(self, viewer: Viewer) -> None:
        """Take another viewer, as each event of a subscription has its own."""
        self._viewer = viewer

    @property
    def asker(self) -> Asker:
        """Who subscribes."""
        if self._asker is None:
            raise RuntimeError("a subscription ran without somebody who asks")
        return self._asker
