"""Request types that a provider lacks, over one that it has."""
