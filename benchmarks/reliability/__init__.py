"""Whether anything is lost: interruptions, kills, faults of the disk, damaged files, and long use."""
