"""What leaves the workstation in the formats of others: labels."""
