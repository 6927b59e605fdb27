"""Our own databases against the platform's: the same columns, types, enums, indexes and foreign keys, and no others.

The facts in ``tests/data/schema`` were read from a Postgres after all of the platform's migrations, for those tables
that runatlas knows. What a migrated database says of itself is put in the same words.
"""

import asyncio
import csv
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.embedded import Cluster
from store.federation import create_engine
from store.migrations import Variant, migrate
from store.residency import LEGACY, NEW, ShardKey
from store.urls import parse_url

FACTS = Path(__file__).parents[1] / "data" / "schema"
FILES: dict[Variant, str] = {"full": "control_plane", "dedicated": "run_ops"}

EACH: list[tuple[ShardKey, Variant]] = [*product((LEGACY, NEW), get_args(Variant))]
"""Both variants on both clusters, whose majors differ."""


class Fact(NamedTuple):
    """One line of a file of facts, or what a database says in its place."""

    subject: str
    name: str
    definition: str


NUMBERS: dict[Variant, set[Fact]] = {
    "full": {
        Fact("RuntimeEnvironment", "concurrencyLimitBurstFactor", "numeric(4,2)"),
        Fact("TaskQueue", "concurrencyLimitOverridePercent", "numeric(5,2)"),
    },
    "dedicated": set(),
}
"""The precision of numbers, of which the files say only that they are numeric."""

OURS = "runatlas_"
"""How the names begin of everything that the platform does not have."""


class Database(NamedTuple):
    variant: Variant
    connection: AsyncConnection


@pytest.fixture(scope="module")
async def databases(clusters: dict[ShardKey, Cluster]) -> AsyncIterator[dict[tuple[ShardKey, Variant], Database]]:
    async with AsyncExitStack() as stack:
        found = {}
        for key, variant in EACH:
            name = f"parity_{variant}"
            await asyncio.to_thread(clusters[key].create_database, name)
            engine = create_engine(parse_url("DATABASE_URL", clusters[key].url(name)))
            stack.push_async_callback(engine.dispose)
            await migrate(engine, variant)
            found[key, variant] = Database(variant, await stack.enter_async_context(engine.connect()))
        yield found


@pytest.fixture(params=EACH, ids=" ".join)
def database(request: pytest.FixtureRequest, databases: dict[tuple[ShardKey, Variant], Database]) -> Database:
    return databases[request.param]


def lines(text_: str, header: str) -> list[dict[str, str]]:
    """Return the rows of a file of facts; raise `ValueError` for one that does not have the header's columns."""
    first, *rows = csv.reader(text_.splitlines(), strict=True)
    if first != header.split(","):
        raise ValueError(f"expected the columns {header}, not {','.join(first)}")
    for row in rows:
        if len(row) != len(first) or not row[0]:
            raise ValueError(f"not a row of {header}: {row}")
    return [dict(zip(first, row, strict=True)) for row in rows]


def column(row: dict[str, str], rank: int) -> Fact:
    if row["nullable"] not in ("YES", "NO"):
        raise ValueError(f"nullable is neither YES nor NO: {row}")
    words = [f"{rank}.", row["type"] + (f"({row['dt_prec']})" if row["dt_prec"] else "")]
    words += ["NOT NULL"] * (row["nullable"] == "NO") + [f"DEFAULT {row['default']}"] * bool(row["default"])
    return Fact(row["table_name"], row["column_name"], " ".join(words))


def columns(text_: str) -> set[Fact]:
    """Return the columns; a place is a rank among the columns that are left: Postgres counts dropped ones too."""
    tables: dict[str, dict[int, dict[str, str]]] = {}
    rows = lines(text_, "table_name,pos,column_name,type,dt_prec,nullable,default")
    for row in rows:
        tables.setdefault(row["table_name"], {})[int(row["pos"])] = row
    facts = {
        column(row, rank) for places in tables.values() for rank, (_, row) in enumerate(sorted(places.items()), start=1)
    }
    if len(facts) != len(rows):
        raise ValueError("a place in a table is taken twice")
    return facts


def enums(text_: str, columns_: set[Fact]) -> set[Fact]:
    """Return the enums that columns have, with their labels in order."""
    rows = lines(text_, "enum,labels")
    types = {fact.definition.split(" ")[1] for fact in columns_}
    return {Fact(row["enum"], "", row["labels"]) for row in rows if row["enum"] in types}


def indexes(text_: str) -> set[Fact]:
    """Return the indexes; raise `ValueError` for a definition that is none."""
    rows = lines(text_, "tablename,indexname,definition")
    for row in rows:
        if not re.fullmatch(r"(UNIQUE )?USING (btree|gin|brin) \(.+\).*", row["definition"]):
            raise ValueError(f"not an index: {row}")
    return {Fact(*row.values()) for row in rows}


def foreign_keys(text_: str, tables: set[str]) -> set[Fact]:
    """Return the foreign keys between the tables; raise `ValueError` for a definition that is none."""
    facts = set()
    for row in lines(text_, "tbl,conname,definition"):
        found = re.fullmatch(r'FOREIGN KEY \(.+\) REFERENCES "?(\w+)"?\(.+\).*', row["definition"])
        if found is None:
            raise ValueError(f"not a foreign key: {row}")
        if found[1] in tables:
            facts.add(Fact(*row.values()))
    return facts


def facts_of(variant: Variant, kind: str) -> str:
    return (FACTS / f"{FILES[variant]}.{kind}.csv").read_text()


def platform_columns(variant: Variant) -> set[Fact]:
    return columns(facts_of(variant, "columns"))


async def ask(database: Database, query: str) -> list[dict[str, str]]:
    result = await database.connection.execute(text(query))
    return [{key: "" if value is None else str(value) for key, value in row.items()} for row in result.mappings()]


def compare(found: set[Fact], facts: set[Fact]) -> None:
    """Fail with what is missing and what is too much, a line each."""
    extra = {fact for fact in found - facts if not (fact.name or fact.subject).startswith(OURS)}
    difference = [f"missing  {' '.join(fact)}" for fact in facts - found] + [f"extra    {' '.join(x)}" for x in extra]
    difference.sort(key=lambda line: line.split()[1:])
    if difference:
        pytest.fail("\n".join(difference), pytrace=False)


async def test_the_two_clusters_are_of_different_majors(databases: dict[tuple[ShardKey, Variant], Database]) -> None:
    rows = [await ask(database, "SHOW server_version_num") for database in databases.values()]

    assert len({row["server_version_num"][:2] for [row] in rows}) == 2


async def test_columns_are_the_platforms_in_order_type_precision_nullability_and_default(database: Database) -> None:
    rows = await ask(
        database,
        """
        SELECT table_name, column_name, is_nullable AS nullable, datetime_precision AS dt_prec,
          column_default AS "default", ordinal_position AS pos,
          CASE data_type
            WHEN 'USER-DEFINED' THEN udt_name
            WHEN 'ARRAY' THEN substr(udt_name, 2) || '[]'
            ELSE data_type
          END AS type
        FROM information_schema.columns WHERE table_schema = 'public'
        """,
    )
    found = {column(row, int(row["pos"])) for row in rows if not row["table_name"].startswith(OURS)}

    compare(found, platform_columns(database.variant))


async def test_numbers_have_the_platforms_precision(database: Database) -> None:
    rows = await ask(
        database,
        """
        SELECT table_name, column_name, format('numeric(%s,%s)', numeric_precision, numeric_scale) AS type
        FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'numeric'
        """,
    )

    compare({Fact(*row.values()) for row in rows}, NUMBERS[database.variant])


async def test_enums_have_the_platforms_labels_in_its_order(database: Database) -> None:
    rows = await ask(
        database,
        """
        SELECT typname, string_agg(enumlabel, ' ' ORDER BY enumsortorder) AS labels
        FROM pg_type LEFT JOIN pg_enum ON enumtypid = pg_type.oid
        WHERE typtype = 'e' AND typnamespace = 'public'::regnamespace GROUP BY typname
        """,
    )

    facts = enums(facts_of(database.variant, "enums"), platform_columns(database.variant))
    compare({Fact(row["typname"], "", row["labels"]) for row in rows}, facts)


async def test_indexes_are_the_platforms_under_its_names(database: Database) -> None:
    rows = await ask(
        database,
        """
        SELECT tablename, indexname,
          CASE WHEN indexdef LIKE 'CREATE UNIQUE %' THEN 'UNIQUE ' ELSE '' END
            || substring(indexdef FROM ' (USING .*)$') AS definition
        FROM pg_indexes WHERE schemaname = 'public'
        """,
    )

    found = {Fact(row["tablename"], row["indexname"], row["definition"]) for row in rows}
    compare(found, indexes(facts_of(database.variant, "indexes")))


async def test_primary_keys_are_constraints_and_other_unique_indexes_are_only_indexes(database: Database) -> None:
    rows = await ask(
        database,
        """
        SELECT conname, contype::text FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'x')
        """,
    )

    facts = indexes(facts_of(database.variant, "indexes"))
    compare(
        {Fact("constraint", row["conname"], row["contype"]) for row in rows},
        {Fact("constraint", fact.name, "p") for fact in facts if fact.name.endswith("_pkey")},
    )


async def test_foreign_keys_are_the_platforms_as_far_as_both_tables_are_here(database: Database) -> None:
    rows = await ask(
        database,
        """
        SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid) AS definition
        FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE contype = 'f' AND connamespace = 'public'::regnamespace
        """,
    )

    tables = {fact.subject for fact in platform_columns(database.variant)}
    compare({Fact(*row.values()) for row in rows}, foreign_keys(facts_of(database.variant, "foreign_keys"), tables))


def test_a_difference_is_told_line_by_line() -> None:
    found = {Fact("TaskRun", "id", "1. text"), Fact("TaskRun", "colour", "2. text"), Fact("TaskRun", "runatlas_x", "")}

    with pytest.raises(pytest.fail.Exception) as failure:
        compare(found, {Fact("TaskRun", "id", "1. text NOT NULL")})

    assert str(failure.value).splitlines() == [
        "extra    TaskRun colour 2. text",
        "extra    TaskRun id 1. text",
        "missing  TaskRun id 1. text NOT NULL",
    ]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("table_name,pos,column_name,type,dt_prec,nullable,default", "TaskRun,1,id,text,,NO"),
        ("table_name,pos,column_name,type,dt_prec,nullable,default", "TaskRun,first,id,text,,NO,"),
        ("table_name,pos,column_name,type,dt_prec,nullable,default", "TaskRun,1,id,text,,PERHAPS,"),
        ("table_name,pos,column_name,type,dt_prec,nullable,default", "A,1,id,text,,NO,\nA,1,name,text,,NO,"),
        ("table,pos", "TaskRun,1"),
    ],
)
def test_a_column_that_cannot_be_read_fails_the_comparison(header: str, row: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        columns(f"{header}\n{row}\n")


@pytest.mark.parametrize("row", ["", "TaskRun,TaskRun_pkey", "TaskRun,TaskRun_pkey,id", "TaskRun,a,USING tree (id)"])
def test_an_index_or_a_key_that_cannot_be_read_fails_the_comparison(row: str) -> None:
    with pytest.raises(ValueError, match=r"not a"):
        indexes(f"tablename,indexname,definition\n{row}\n")
    with pytest.raises(ValueError, match=r"not a"):
        foreign_keys(f"tbl,conname,definition\n{row}\n", {"TaskRun"})
