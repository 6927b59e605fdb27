"""What the demo shows first: what crosses databases, read, written and told of."""

from schema.http.graphiql import GraphiQLConfig, Tab
from store.demo import Demo

RUN = """\
    id
    status
    taskIdentifier
    batch { id status runCount }
    parentRun { id status }
    environment { slug project { name } }
    waitpoints(first: 5) { nodes { id type status } }"""


def two_runs(demo: Demo) -> str:
    """Return a query for two runs of different databases, their batches, their parents and what they wait for."""
    return f"""\
query TwoDatabases {{
  legacy: run(id: "{demo.legacy_run}") {{
{RUN}
  }}
  new: run(id: "{demo.new_run}") {{
{RUN}
  }}
}}
"""


def changes(demo: Demo, *, live: bool) -> str:
    """Return a subscription that has something to tell: of what lives, or else of a run that waits."""
    if live:
        return """\
# Run it and leave it running: whatever has the tag is told of as it changes, whichever database it is in.
subscription Changes {
  runsUpdated(tags: ["live"]) { id status taskIdentifier updatedAt metadata blockedBy { waitpoint { id status } } }
}
"""
    return f"""\
# Run it and leave it running, and complete the run's token in another window, with the tab before this one.
subscription Changes {{
  runUpdated(id: "{demo.new_run}") {{ id status updatedAt blockedBy {{ waitpoint {{ id status }} }} }}
}}
"""


def page(demo: Demo, *, live: bool = False) -> GraphiQLConfig:
    """Return GraphiQL with the demo's credentials, and an operation in each tab; `live` says that the demo lives."""
    token = f"""\
# One token, and the runs of every database that wait for it.
query AcrossTheSeam {{
  waitpoint(id: "{demo.token}") {{
    id
    type
    status
    tags
    blockedRuns(first: 5) {{ nodes {{ id status blockedBy {{ waitpoint {{ id }} }} }} }}
    connectedRuns(first: 5) {{ nodes {{ id status }} }}
  }}
}}
"""
    complete = f"""\
# Complete that token: its runs go on, whichever database they are in. Look at the tab before this one again.
mutation GoOn {{
  completeWaitpointToken(input: {{ id: "{demo.token}", data: {{ approved: true }} }}) {{
    alreadyCompleted
    waitpoint {{
      status
      output {{ json }}
      connectedRuns(first: 5) {{ nodes {{ id status blockedBy {{ waitpoint {{ id status }} }} }} }}
    }}
    userErrors {{ code message }}
  }}
}}
"""
    runs = """\
# The newest runs of all databases, merged; pass endCursor as $after for the next page.
query NewestRuns($after: String) {
  environment {
    slug
    type
    runs(first: 10, after: $after) {
      nodes { id status taskIdentifier createdAt tags childRuns(first: 3) { nodes { id status } } }
      pageInfo { hasNextPage endCursor }
      degradedShards { shard code }
    }
  }
  shards { key healthy checkedAt }
}
"""
    places = """\
# What a member of two organizations sees; the tab sends a personal access token.
query Navigation {
  viewer {
    displayName
    organizations { title projects { name environments { id slug type branchName runs(first: 1) { nodes { id } } } } }
  }
}
"""
    member = (Tab(places, headers={"Authorization": f"Bearer {demo.access_token}"}),) if demo.access_token else ()
    return GraphiQLConfig(
        tabs=(Tab(two_runs(demo)), Tab(token), Tab(complete), Tab(changes(demo, live=live)), Tab(runs), *member),
        default_headers={"Authorization": f"Bearer {demo.api_key}"},
    )
