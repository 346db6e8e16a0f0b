"""Flows of money as sagas, the runtime that drives them, and what an API call does to the ledger."""
