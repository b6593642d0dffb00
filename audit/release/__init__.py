"""Release: uniformity, conformity, batch record, documents, review package."""
