"""Where other systems meet this one: prescriptions that come in, labels, and what is told of a batch that goes out."""
