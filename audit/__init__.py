"""The record: what happened, who signed, and can it be proved."""
