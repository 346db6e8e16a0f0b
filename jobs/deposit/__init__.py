"""What comes in from a chain: scanned, judged, credited."""
