"""The ground floor: money, the journal, and the database that refuses to break either."""
