"""The runtime of Trackbed: runs workflows on what an environment has."""
