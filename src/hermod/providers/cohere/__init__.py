"""Cohere's chat, embeddings and rerank."""
