"""Who may do what. In this release: anybody on this machine, or whoever has the admin token."""
