"""What operators decide by hand."""
