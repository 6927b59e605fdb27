"""The scenes of a block: what happens in it, and what of that crosses from one shard to another.

Three kinds of rows do: a token for which a run of another shard waits, the waitpoint of another shard's run that an
idempotency key led to, and friendly ids (members of batches, replays).
"""

from collections.abc import Sequence

from store.demo.block import TAGS, Block
from store.demo.bulk import Bulk
from store.demo.copying import literal
from store.demo.mint import timestamp
from store.demo.palette import (
    ASSISTANT,
    CHARGE,
    EMAIL,
    EVERYDAY,
    FULFIL,
    IMPORT,
    LABEL,
    PRODUCT,
    REFUND,
    RESIZE,
    REVIEW,
    SHIP,
    TaskKind,
    annotations,
)
from store.demo.places import DAY, HOUR
from store.demo.runs import (
    CANCELED,
    COMPLETED,
    CRASHED,
    DELAYED,
    DEQUEUED,
    EXECUTING,
    EXPIRED,
    FAILED,
    INTERRUPTED,
    PAUSED,
    PENDING,
    PENDING_VERSION,
    RETRYING,
    SYSTEM_FAILURE,
    TIMED_OUT,
    WAITING,
    WAITING_FOR_DEPLOY,
    State,
)
from store.demo.world import FIRST, OTHER, SCENES, SPARE

ACTIVE = (
    *(PENDING, PENDING, PENDING, PENDING, DELAYED, DELAYED, PENDING_VERSION, WAITING_FOR_DEPLOY, DEQUEUED, DEQUEUED),
    *(EXECUTING, EXECUTING, EXECUTING, EXECUTING, RETRYING, PAUSED, EXECUTING),
)
ENDED = (CANCELED, CANCELED, FAILED, INTERRUPTED, SYSTEM_FAILURE, CRASHED, EXPIRED, TIMED_OUT, COMPLETED)

SCHEDULED = annotations("schedule", "schedule", "SCHEDULED")
REPLAYED = annotations("dashboard", "replay", "STANDARD")
KEEPER_LASTS = HOUR // 60
IDEMPOTENT = literal({"key": "charge-once", "scope": "global"})


def order(block: Block, first: int, _: Bulk) -> None:
    """Write an order: a run waits for two, one of which waits for two more."""
    root = block.run(first, FULFIL, WAITING)
    charge = block.run(first + 1, CHARGE, parent=root)
    ship = block.run(first + 2, SHIP, WAITING, parent=root)
    label = block.run(first + 3, LABEL, parent=ship)
    email = block.run(first + 4, EMAIL, EXECUTING, parent=ship)
    for run in (charge, ship, label, email):
        run.waited_for = True
    ship.ended = max(ship.ended, label.ended, email.ended) + 150
    root.ended = max(root.ended, charge.ended, ship.ended) + 150
    own = {run.id: block.own_waitpoint(run) for run in (charge, ship, label, email)}
    block.waits(root, [own[charge.id], own[ship.id]])
    block.write(charge)
    block.waits(ship, [own[label.id], own[email.id]])
    block.write(label)
    block.write(email)


def import_(block: Block, first: int, _: Bulk) -> None:
    """Write a batch that a run waits for, one member of which was there before: a run of the next shard."""
    world, number = block.world, block.number
    root = block.run(first, IMPORT, WAITING)
    batch = block.batch(first, "runengine:v2")
    states = (COMPLETED, COMPLETED, COMPLETED, EXECUTING, EXECUTING, DEQUEUED, PENDING, FAILED)
    runs = [
        block.run(first + 1 + index, PRODUCT, state, parent=root, batch=batch) for index, state in enumerate(states)
    ]
    before = world.next(block.shard), number, FIRST["keeper"]
    batch.members.append(f"run_{world.run_id(*before)}")
    last = max(run.ended for run in runs)
    root.ended = max(root.ended, last, world.created(*before) + 2 * KEEPER_LASTS) + 150
    whole = block.batch_waitpoint(batch, first + OTHER, None if block.live else root.ended - 150)
    for run in runs:
        run.waited_for = True
    own = [block.own_waitpoint(run) for run in runs]
    block.finish(batch, "PROCESSING" if block.live else "COMPLETED", runs, missing=3 if block.live else 0)
    block.waits(root, [*own, world.waitpoint_id(*before)], batch=batch, whole=whole)
    for run in runs:
        block.write(run)


def refund(block: Block, first: int, _: Bulk) -> None:
    """Write a batch of which one run waits for a token that every shard waits for, and one for the next shard's."""
    world, number = block.world, block.number
    root = block.run(first, REFUND, WAITING)
    batch = block.batch(first, "runengine:v2")
    states = (WAITING, WAITING, COMPLETED, EXECUTING)
    runs = [block.run(first + 1 + index, REVIEW, state, parent=root, batch=batch) for index, state in enumerate(states)]
    doors = (world.shared_door(number), world.next(block.shard))
    opened = None if block.live else world.opened(block.shard, number)
    block.token(
        first + OTHER,
        opened,
        due=world.anchor + DAY if block.live else opened,
        value={"approved": True, "by": "grace"},
        timed_out=not block.live and number % 5 == 0,
        tags=TAGS[:2],
        key=f"refund-{number}-{block.shard}",
    )
    for run, door in zip(runs, doors, strict=False):
        run.ended = run.ended if block.live else max(run.ended, world.opened(door, number) + 150)
    root.ended = max(root.ended, *(run.ended for run in runs)) + 150
    whole = block.batch_waitpoint(batch, first + SPARE, None if block.live else root.ended - 150)
    for run in runs:
        run.waited_for = True
    own = [block.own_waitpoint(run) for run in runs]
    block.finish(batch, "PENDING" if block.live else "COMPLETED", runs)
    block.waits(root, own, batch=batch, whole=whole)
    for run, door in zip(runs, doors, strict=False):
        block.waits(run, [world.waitpoint_id(door, number, first + OTHER)])
    for run in runs[len(doors) :]:
        block.write(run)


def keeper(block: Block, first: int, _: Bulk) -> None:
    """Write a run that has an idempotency key, so that others find it instead of making another."""
    run = block.run(first, CHARGE, EXECUTING, lasting=KEEPER_LASTS)
    run.key = f"charge-{run.id}\t{timestamp(run.created + 30 * DAY)}\t{IDEMPOTENT}"
    block.own_waitpoint(run)
    block.write(run)


def borrower(block: Block, first: int, _: Bulk) -> None:
    """Write a run that triggered with the key of the next shard's keeper, and waits for that one."""
    kept = block.world.next(block.shard), block.number, FIRST["keeper"]
    run = block.run(first, FULFIL, WAITING, lasting=2 * KEEPER_LASTS)
    block.waits(run, [block.world.waitpoint_id(*kept)])


def timer(block: Block, first: int, _: Bulk) -> None:
    """Write two runs that wait for a time, which has come for one of them."""
    for position, state in ((first, WAITING), (first + 1, COMPLETED)):
        run = block.run(position, EMAIL, state, lasting=90_000)
        blocked = run.state is WAITING
        due = block.world.anchor + 2 * HOUR if blocked else run.ended - 200
        block.waits(run, [block.timer(position + OTHER, due, None if blocked else due)])


def stream(block: Block, first: int, _: Bulk) -> None:
    """Write a run that waits for input to itself; and tokens that nobody waits for."""
    run = block.run(first, ASSISTANT, WAITING, lasting=240_000)
    done = None if block.live else run.ended - 200
    block.waits(run, [block.token(first + OTHER, done, value="Hello", timed_out=bool(done) and block.number % 3 == 0)])
    number = f"{block.number}-{block.shard}"
    at = block.world.created(block.shard, block.number, first) + 60_000
    later = block.world.anchor + DAY
    block.token(FIRST["timer"] + SPARE, None, tags=TAGS[1:2])
    block.token(FIRST["stream"] + SPARE, None, due=later, tags=TAGS[2:], key=f"onboarding-{number}")
    block.token(FIRST["order"] + SPARE, at, value={"score": 5}, tags=TAGS, spent_key=f"survey-{number}")
    block.token(FIRST["keeper"] + SPARE, at, due=at, timed_out=True, tags=TAGS[:1])


def queued_batch(block: Block, first: int, _: Bulk) -> None:
    """Write a batch of which three are done, two are under way and five wait for their turn."""
    batch = block.batch(first, "v3")
    states = [COMPLETED] * 3 + [EXECUTING] * 2 + [PENDING] * 5
    runs = [block.run(first + index, EMAIL, state, batch=batch) for index, state in enumerate(states)]
    block.finish(batch, "PENDING" if block.live else "COMPLETED", runs)
    for run in runs:
        block.write(run)
        block.item(batch, run)


def uneven_batch(block: Block, first: int, _: Bulk) -> None:
    """Write a batch that lacks three members, complete if the others have ended; and one that has none."""
    batch = block.batch(first, "runengine:v2")
    last = EXECUTING if block.live else COMPLETED
    states = (COMPLETED, COMPLETED, COMPLETED, FAILED, COMPLETED, COMPLETED, last)
    runs = [block.run(first + index, RESIZE, state, batch=batch) for index, state in enumerate(states)]
    block.finish(batch, "PARTIAL_FAILED" if block.live else "COMPLETED", runs, errors=3)
    for run in runs:
        block.write(run)
    block.finish(block.batch(first + 1, "runengine:v2"), "ABORTED", (), errors=4)


def small_batch(block: Block, first: int, _: Bulk) -> None:
    """Write a batch with a key, one member of which is a run of another batch."""
    batch = block.batch(first, "runengine:v1")
    runs = [block.run(first + index, PRODUCT, batch=batch) for index in range(SCENES["small_batch"])]
    batch.members.append(f"run_{block.world.run_id(block.shard, block.number, FIRST['uneven_batch'])}")
    block.finish(batch, "COMPLETED", runs, key=True)
    for run in runs:
        block.write(run)
        block.item(batch, run)


def old_batch(block: Block, first: int, _: Bulk) -> None:
    """Write a batch of the retired engine, with attempts; on shards that never had it, one of the kind after."""
    batch = block.batch(first, "v1" if block.old else "runengine:v1")
    runs = [
        block.run(first + index, SHIP, state, batch=batch)
        for index, state in enumerate((COMPLETED, COMPLETED, INTERRUPTED, COMPLETED))
    ]
    block.finish(batch, "COMPLETED", runs)
    for run in runs:
        run.engine = "V1" if block.old else "V2"
        block.write(run)
        if block.old:
            block.item(batch, run, block.attempt(run))
        else:
            block.item(batch, run)


def scheduled(block: Block, first: int, _: Bulk) -> None:
    """Write runs that a schedule triggered, where there are schedules."""
    for index in range(SCENES["scheduled"]):
        if block.place.schedules:
            schedule = block.place.schedules[index % len(block.place.schedules)]
            run = block.run(first + index, schedule.task, how=SCHEDULED)
            run.schedule = schedule.columns
        else:
            run = block.run(first + index, EMAIL)
        block.write(run)


def replays(block: Block, first: int, bulk: Bulk) -> None:
    """Write a run that failed, its replay, and a replay of the next shard's."""
    world, number = block.world, block.number
    block.write(block.run(first, CHARGE, FAILED))
    for position, shard in ((first + 1, block.shard), (first + 2, world.next(block.shard))):
        run = block.run(position, CHARGE, how=REPLAYED)
        run.replayed_from = f"run_{world.run_id(shard, number, first)}"
        run.bulk_actions = bulk.touching("REPLAY", number)
        block.write(run)


def active(block: Block, first: int, _: Bulk) -> None:
    """Write a run or more in every state that is not an end."""
    for index, state in enumerate(_turned(ACTIVE, block)):
        block.write(block.run(first + index, _everyday(block, index), state))


def ended(block: Block, first: int, bulk: Bulk) -> None:
    """Write a run or more in every state that is an end."""
    for index, state in enumerate(_turned(ENDED, block)):
        run = block.run(first + index, _everyday(block, index), state)
        if state is CANCELED:
            run.bulk_actions = bulk.touching("CANCEL", block.number)
        block.write(run)


def elsewhere(block: Block, first: int, _: Bulk) -> None:
    """Write a run in each of the other environments."""
    for index, place in enumerate(block.world.tenants.places[1:]):
        turn = index + block.number + 2 * block.shard
        state = EXECUTING if turn % 5 == 0 else FAILED if turn % 7 == 0 else COMPLETED
        block.write(block.run(first + index, _everyday(block, index), state, place=place))


def _turned(states: Sequence[State], block: Block) -> Sequence[State]:
    """Return the states in an order that shards and blocks do not share."""
    turn = (5 * block.number + 4 * block.shard) % len(states)
    return [*states[turn:], *states[:turn]]


def _everyday(block: Block, index: int) -> TaskKind:
    return EVERYDAY[(block.number + 3 * block.shard + index) % len(EVERYDAY)]
