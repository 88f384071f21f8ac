"""The store: where the boxes meet. `api` says what it does, each backend folder how."""
