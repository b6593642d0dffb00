"""What a control site runs for the sites it answers for."""
