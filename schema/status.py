"""The states of a run, and how it came to be."""

from enum import Enum

import strawberry


@strawberry.enum(description="State of a run, as clients see it.")
class RunStatus(Enum):
    """The enum of that name."""

    PENDING_VERSION = strawberry.enum_value("PENDING_VERSION", description="Waits for a version that can run it.")
    QUEUED = strawberry.enum_value("QUEUED", description="Waits for its turn.")
    DEQUEUED = strawberry.enum_value("DEQUEUED", description="Taken from the queue; its machine is starting.")
    EXECUTING = strawberry.enum_value("EXECUTING", description="Runs, or is about to run again after a failure.")
    WAITING = strawberry.enum_value("WAITING", description="Waits for a waitpoint and holds no machine.")
    COMPLETED = strawberry.enum_value("COMPLETED", description="Ended with success.")
    CANCELED = strawberry.enum_value("CANCELED", description="Ended by somebody's wish.")
    FAILED = strawberry.enum_value("FAILED", description="Ended with an error.")
    CRASHED = strawberry.enum_value("CRASHED", description="Ended because its process died.")
    SYSTEM_FAILURE = strawberry.enum_value("SYSTEM_FAILURE", description="Ended by a fault of the platform.")
    DELAYED = strawberry.enum_value("DELAYED", description="Will be queued at a later time.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Ended unstarted: it was not taken in its time to live.")
    TIMED_OUT = strawberry.enum_value("TIMED_OUT", description="Ended because it took longer than it may.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@strawberry.enum(description="State of a run, as it is stored.")
class RawRunStatus(Enum):
    """The enum of that name."""

    DELAYED = strawberry.enum_value("DELAYED", description="Will be queued at a later time.")
    PENDING = strawberry.enum_value("PENDING", description="Waits for its turn.")
    PENDING_VERSION = strawberry.enum_value("PENDING_VERSION", description="Waits for a version that can run it.")
    WAITING_FOR_DEPLOY = strawberry.enum_value(
        "WAITING_FOR_DEPLOY", description="Waits for a deployment; no longer written."
    )
    DEQUEUED = strawberry.enum_value("DEQUEUED", description="Taken from the queue; its machine is starting.")
    EXECUTING = strawberry.enum_value("EXECUTING", description="Runs.")
    WAITING_TO_RESUME = strawberry.enum_value("WAITING_TO_RESUME", description="Waits and holds no machine.")
    RETRYING_AFTER_FAILURE = strawberry.enum_value("RETRYING_AFTER_FAILURE", description="Will run again.")
    PAUSED = strawberry.enum_value("PAUSED", description="Stopped for the time being.")
    CANCELED = strawberry.enum_value("CANCELED", description="Ended by somebody's wish.")
    INTERRUPTED = strawberry.enum_value("INTERRUPTED", description="Ended because its machine went away.")
    COMPLETED_SUCCESSFULLY = strawberry.enum_value("COMPLETED_SUCCESSFULLY", description="Ended with success.")
    COMPLETED_WITH_ERRORS = strawberry.enum_value("COMPLETED_WITH_ERRORS", description="Ended with an error.")
    SYSTEM_FAILURE = strawberry.enum_value("SYSTEM_FAILURE", description="Ended by a fault of the platform.")
    CRASHED = strawberry.enum_value("CRASHED", description="Ended because its process died.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Ended unstarted, past its time to live.")
    TIMED_OUT = strawberry.enum_value("TIMED_OUT", description="Ended because it took longer than it may.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="One that the platform has and this release does not know.")


@strawberry.enum(description="How a run was triggered.")
class TriggerFunction(Enum):
    """The enum of that name."""

    TRIGGER = strawberry.enum_value("TRIGGER", description="Alone.")
    TRIGGER_AND_WAIT = strawberry.enum_value("TRIGGER_AND_WAIT", description="Alone, and its parent waits for it.")
    BATCH_TRIGGER = strawberry.enum_value("BATCH_TRIGGER", description="In a batch.")
    BATCH_TRIGGER_AND_WAIT = strawberry.enum_value(
        "BATCH_TRIGGER_AND_WAIT", description="In a batch, and its parent waits for it."
    )


@strawberry.enum(description="Size of a machine.")
class MachinePreset(Enum):
    """The enum of that name."""

    MICRO = strawberry.enum_value("MICRO", description="0.25 vCPU, 0.25 GB.")
    SMALL_1X = strawberry.enum_value("SMALL_1X", description="0.5 vCPU, 0.5 GB.")
    SMALL_2X = strawberry.enum_value("SMALL_2X", description="1 vCPU, 1 GB.")
    MEDIUM_1X = strawberry.enum_value("MEDIUM_1X", description="1 vCPU, 2 GB.")
    MEDIUM_2X = strawberry.enum_value("MEDIUM_2X", description="2 vCPU, 4 GB.")
    LARGE_1X = strawberry.enum_value("LARGE_1X", description="4 vCPU, 8 GB.")
    LARGE_2X = strawberry.enum_value("LARGE_2X", description="8 vCPU, 16 GB.")
