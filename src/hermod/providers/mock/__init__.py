"""The provider inside this process, and the shapes of its answers."""
