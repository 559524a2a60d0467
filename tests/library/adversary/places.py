"""Where a process can die so that it matters: between the outbox's steps, around commits and requests."""

PLACES = (
    "looked",
    "recorded",
    "signed",
    "committed",
    "sent",
    "raised",
    "replaced",
    "before commit",
    "after commit",
    "before ask",
    "after ask",
    "before send",
    "after send",
)
"""Names that the outbox tells its `checkpoint`, and both ends of commits and requests."""
RARE = "filled"
"""Only reached when a broken promise and a stolen key come together."""
