"""The GraphQL contract and its transport. Strawberry and FastAPI stop here."""
