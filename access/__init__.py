"""Who calls, where the call may go, what it may do there."""
