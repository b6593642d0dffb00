"""People and machines ask: HTTP, pages, command line."""
