"""Exchange rates: fetched, judged, stored, and used while they are fresh."""
