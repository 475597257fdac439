"""Vector mathematics as generated arithmetic."""
