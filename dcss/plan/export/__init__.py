"""What a real system takes of a segment: commands, scripts and descriptions, each kind of system in its own module."""
