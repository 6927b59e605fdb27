"""How the events of a subscription are executed: those that came together are loaded together.

graphql-core executes one event after the other, so a hundred rows that change at once would cost a hundred statements
for each edge. Here the first of them begins all, and each hands on its own result.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from graphql import ExecutionResult, Executor
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.execution import PreExecutionError

from resolvers.live import Updates
from schema.context import Context
from schema.errors import ended
from store.shard import one_operation

Execute = Callable[[Any], Any]
"""Executes the operation over a record: the result, or something that will be."""


class _Together:
    """Events that are executed as one operation, when it is their turn: others have theirs in between."""

    def __init__(self, records: Sequence[Any], turns: asyncio.Lock) -> None:
        self.events = [_Event(self, index) for index in range(len(records))]
        self._records, self._turns = records, turns
        self._results: list[Any] | None = None

    async def result(self, index: int, execute: Execute) -> ExecutionResult:
        """Return the result of one event. That of the first begins all."""
        if self._results is None:
            async with self._turns:
                with one_operation():
                    self._results = [_begun(execute(record)) for record in self._records]
                await asyncio.sleep(0)
        result = self._results[index]
        return result if isinstance(result, ExecutionResult) else await result

    def end(self) -> None:
        """End what nobody waits for any more, and let go of all: nothing is left for the garbage collector."""
        for result in self._results or ():
            if isinstance(result, asyncio.Future):
                result.cancel()
        self.events.clear()
        self._records, self._results = (), []


class _Event:
    """What stands for one record on its way through graphql-core."""

    def __init__(self, together: _Together, index: int) -> None:
        self._together, self._index = together, index

    def result(self, execute: Execute) -> Awaitable[ExecutionResult]:
        """Return what will be its result."""
        return self._together.result(self._index, execute)


def _begun(result: Any) -> Any:  # noqa: ANN401
    return result if isinstance(result, ExecutionResult) else asyncio.ensure_future(result)


async def events(context: Context, updates: Updates) -> AsyncIterator[_Event]:
    """Return the events of a stream, each looked at with the viewer that it comes with."""
    async for viewer, records in updates:
        context.viewer = viewer
        viewer.live.metrics.events.inc(len(records))
        together = _Together(records, viewer.live.turns)
        try:
            for event in tuple(together.events):
                yield event
                await asyncio.sleep(0)  # however much there is to tell, others have their turn
        finally:
            together.end()
            viewer.forget()


class StreamingExecutor(StrawberryGraphQLCoreExecutionContext):
    """Strawberry's executor, which executes events of one moment together."""

    def build_per_event_executor(self, payload: Any) -> Executor[Any]:  # noqa: ANN401  as its base has it
        """Return the executor of one event. What it collects is its own: its base would keep that of every event."""
        executor = super().build_per_event_executor(payload)
        executor._relevant_sub_fields = {}  # noqa: SLF001  it offers no other way
        return executor

    def execute_operation(self, serially: bool | None = None) -> Any:  # noqa: ANN401, FBT001  as its base has it
        """Execute the operation, or hand on the result of an event."""
        if not isinstance(self.root_value, _Event):
            return super().execute_operation(serially)
        return self.root_value.result(lambda record: self.build_per_event_executor(record).execute_operation(serially))


async def until_the_end(results: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """Yield results; that of a stream which broke is the last word on it, and no event: it has no data and no path."""
    try:
        async for result in results:
            if result.data is None and result.errors and not any(error.path for error in result.errors):
                yield PreExecutionError(None, result.errors, result.extensions)
                return
            yield result
    except Exception as error:  # noqa: BLE001  whatever breaks a stream is told as other errors are
        yield PreExecutionError(None, [ended(error)])
    finally:
        await results.aclose()
