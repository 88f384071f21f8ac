"""Front doors in the shape of other APIs: pure translations to our kinds and back.

`anthropic_*` puts Anthropic's Messages in front of responses, `genai_*` Google's generateContent
in front of chat completions and embeddings, `openai` OpenAI's own shapes around stored jobs.
"""
